//! A secret that cannot be printed by accident.

use std::fmt;

use serde::{Serialize, Serializer};

/// Text that shows as `***` wherever it is printed, logged or serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskedString(String);

impl MaskedString {
    /// Hides this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether `candidate` is the secret; takes the same time wherever the two differ.
    pub fn matches(&self, candidate: &str) -> bool {
        let (secret, candidate) = (self.0.as_bytes(), candidate.as_bytes());
        let differing = secret
            .iter()
            .zip(candidate)
            .fold(0, |bits, (a, b)| bits | (a ^ b));
        secret.len() == candidate.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for MaskedString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for MaskedString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_and_never_shown() {
        let token = MaskedString::new("correct-horse-battery".to_owned());

        assert!(token.matches("correct-horse-battery"));
        assert!(!token.matches("correct-horse-batterY"));
        assert!(!token.matches("correct-horse"));
        assert!(!token.matches(""));
        assert_eq!(format!("{token:?}"), "***");
    }
}
