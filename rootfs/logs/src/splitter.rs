//! Chunks of a stream become lines of bounded length.

/// The longest line that is kept. Whatever is longer is a dump that nobody reads line by line.
pub const LINE_BYTES: usize = 2048;

/// One line as it was found in a stream, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether more of this line follows, which is thrown away.
    pub(crate) cut: bool,
}

/// The line of a stream that hasn't ended yet.
#[derive(Clone, Debug)]
pub(crate) struct Splitter {
    /// Its capacity is [`LINE_BYTES`] from the start and never grows.
    partial: Vec<u8>,
    /// The rest of a line that was cut is thrown away up to its end.
    skipping: bool,
    /// Bytes that were thrown away.
    cut_bytes: u64,
}

impl Splitter {
    pub(crate) fn new() -> Self {
        Self { partial: Vec::with_capacity(LINE_BYTES), skipping: false, cut_bytes: 0 }
    }

    pub(crate) fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Takes a chunk, and gives each line that is complete or too long with it.
    pub(crate) fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.extend(line, &mut each);
            if !self.skipping {
                let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
                each(Line { bytes: line, cut: false });
            }
            self.partial.clear();
            self.skipping = false;
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend(rest, &mut each);
    }

    /// The stream has ended; what came last is a line too.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !self.partial.is_empty() && !self.skipping {
            each(Line { bytes: &self.partial, cut: false });
        }
        self.partial.clear();
        self.skipping = false;
    }

    fn extend(&mut self, bytes: &[u8], each: &mut impl FnMut(Line<'_>)) {
        if self.skipping {
            self.cut_bytes = self.cut_bytes.saturating_add(bytes.len() as u64);
            return;
        }
        let room = LINE_BYTES.saturating_sub(self.partial.len());
        let Some((fitting, cut)) = bytes.split_at_checked(room).filter(|(_, cut)| !cut.is_empty())
        else {
            self.partial.extend_from_slice(bytes);
            return;
        };
        self.partial.extend_from_slice(fitting);
        let whole = whole_letters(&self.partial);
        let lost = self.partial.len().saturating_sub(whole.len()).saturating_add(cut.len());
        self.cut_bytes = self.cut_bytes.saturating_add(lost as u64);
        each(Line { bytes: whole, cut: true });
        self.partial.clear();
        self.skipping = true;
    }
}

/// The bytes without a last letter that the cut went through.
fn whole_letters(bytes: &[u8]) -> &[u8] {
    let whole = bytes.utf8_chunks().last().map_or(0, |last| {
        // An invalid end of less than four bytes may be the start of a letter.
        let cut_letter = std::str::from_utf8(last.invalid());
        let incomplete = cut_letter.is_err_and(|error| error.error_len().is_none());
        if incomplete { last.invalid().len() } else { 0 }
    });
    bytes.get(..bytes.len().saturating_sub(whole)).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        let mut splitter = Splitter::new();
        let mut each =
            |line: Line<'_>| found.push((String::from_utf8_lossy(line.bytes).into(), line.cut));
        for chunk in chunks {
            splitter.push(chunk, &mut each);
        }
        splitter.finish(&mut each);
        found
    }

    fn whole(texts: &[&str]) -> Vec<(String, bool)> {
        texts.iter().map(|text| ((*text).to_owned(), false)).collect()
    }

    #[test]
    fn lines_end_where_they_end_and_not_where_chunks_do() {
        assert_eq!(lines(&[b"one\ntw", b"o", b"\r\n\nthree"]), whole(&["one", "two", "", "three"]));
        assert_eq!(lines(&[b"one\n"]), whole(&["one"]));
        assert_eq!(lines(&[]), whole(&[]));
    }

    #[test]
    fn a_line_of_exactly_the_bound_is_whole() {
        let line = "x".repeat(LINE_BYTES);
        assert_eq!(lines(&[line.as_bytes(), b"\n"]), whole(&[&line]));
    }

    #[test]
    fn a_longer_line_is_cut_once_and_its_rest_is_gone() {
        let text = format!("{}rest", "x".repeat(LINE_BYTES));
        let expected = [("x".repeat(LINE_BYTES), true), ("next".to_owned(), false)];
        assert_eq!(lines(&[text.as_bytes(), b"more\nnext"]), expected);
    }

    #[test]
    fn a_cut_leaves_no_half_letter() {
        let text = format!("{}€", "x".repeat(LINE_BYTES - 1));
        assert_eq!(lines(&[text.as_bytes()]), [("x".repeat(LINE_BYTES - 1), true)]);
        // What never was a letter is kept as it came.
        let mut bytes = "x".repeat(LINE_BYTES - 1).into_bytes();
        bytes.extend(b"\xff\xff");
        assert_eq!(lines(&[&bytes])[0].0.chars().last(), Some('\u{fffd}'));
    }
}
