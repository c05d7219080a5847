//! An error as a person reads it: in one line, with all its causes.

use std::error::Error;

/// An error with all its causes; a cause that its effect already quotes is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("the disk is full")]
    struct Cause;

    #[derive(Debug, Error)]
    enum Effect {
        #[error("can't write a")]
        Silent(#[source] Cause),
        #[error("can't write b: {0}")]
        Quoting(#[source] Cause),
    }

    #[test]
    fn each_cause_is_said_once() {
        assert_eq!(chain(&Effect::Silent(Cause)), "can't write a: the disk is full");
        assert_eq!(chain(&Effect::Quoting(Cause)), "can't write b: the disk is full");
    }
}
