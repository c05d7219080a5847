//! "Did you mean …?": the nearest known word to a misspelt one.

/// Words longer than this are not compared; no key of ours is as long, and the cost is quadratic.
const MAX_COMPARED_CHARACTERS: usize = 48;

/// The known word that is most like `given`, if one is near enough to be what was meant.
pub(crate) fn nearest<'w>(
    given: &str,
    known: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    let given: Vec<char> = given.to_lowercase().chars().collect();
    if given.len() > MAX_COMPARED_CHARACTERS {
        return None;
    }
    known
        .into_iter()
        .map(|word| (distance(&given, &word.chars().collect::<Vec<_>>()), word))
        .filter(|(far, word)| *far <= (word.len().max(given.len()) / 3).max(1))
        .min_by_key(|(far, _)| *far)
        .map(|(_, word)| word)
}

/// Edit distance with insertion, deletion, substitution and the swap of two neighbours.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before_last = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, l) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, r) in right.iter().enumerate() {
            let substituted = last[column] + usize::from(l != r);
            let mut best = substituted.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && left[row - 1] == *r && *l == right[column - 1];
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_the_word_that_was_meant_and_no_other() {
        let known = ["name", "roles", "gateway", "adresses"];
        assert_eq!(nearest("nmae", known), Some("name"));
        assert_eq!(nearest("Role", known), Some("roles"));
        assert_eq!(nearest("addresses", known), Some("adresses"));
        assert_eq!(nearest("vrid", known), None);
        assert_eq!(nearest(&"x".repeat(100), known), None);
    }
}
