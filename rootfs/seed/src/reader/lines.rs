//! Where the lines of a text begin, and which of them may hold a secret.
//!
//! Computed once, since a seed can have many mistakes and each wants to know its line.

use super::document::MAX_SEED_BYTES;

/// The lines of a text.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Where each line begins; the first at 0.
    starts: Vec<usize>,
    /// Whether each line belongs to `[secrets]`. Judged by the text alone, since a mistake of syntax
    /// has no path.
    secret: Vec<bool>,
}

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(MAX_SEED_BYTES.min(text.len()))];
        let mut lines = Self { starts: Vec::new(), secret: Vec::new() };
        let mut start = 0;
        let mut secret = false;
        // Without the split's last piece, a mistake at the very end would have no line.
        for line in text.split('\n') {
            let content = line.trim_start();
            if content.starts_with('[') {
                let name = content.trim_start_matches(['[', ' ', '\t', '"', '\'']);
                secret = name.starts_with("secrets");
            } else if content.trim_start_matches(['"', '\'']).starts_with("secrets") {
                secret = true;
            }
            lines.starts.push(start);
            lines.secret.push(secret);
            start += line.len() + 1;
        }
        lines
    }

    /// The line of a position, counted from 0.
    pub(crate) fn line_of(&self, position: usize) -> usize {
        self.starts.partition_point(|start| *start <= position).saturating_sub(1)
    }

    /// Where a line begins.
    pub(crate) fn start(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or_default()
    }

    /// Whether a line may hold a secret.
    pub(crate) fn is_secret(&self, line: usize) -> bool {
        self.secret.get(line).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn knows_lines_and_secrets() {
        let lines = Lines::of("a = 1\n[secrets]\nb = 2\n[other]\nsecrets = {\nc = 3");
        let of = |position| lines.line_of(position);
        assert_eq!([of(0), of(5), of(6), of(16), of(1000)], [0, 0, 1, 2, 5]);
        let secret: Vec<bool> = (0..6).map(|line| lines.is_secret(line)).collect();
        assert_eq!(secret, [false, true, true, false, true, true]);
        assert_eq!(lines.start(2), 16);
    }
}
