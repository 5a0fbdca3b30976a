//! The recordings and their index: which bytes, and what a decoder must see in them.

use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;

/// One recording.
pub(crate) struct Recording {
    /// What the index says about it.
    pub(crate) facts: Json,
    /// The recorded bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Recording {
    pub(crate) fn id(&self) -> &str {
        self.facts["id"].as_str().unwrap()
    }

    pub(crate) fn must_fail(&self) -> bool {
        self.facts["expect"] == "error"
    }
}

/// All recordings of this kind (`bolt` or `hessian`), whose index lists them under `list`.
pub(crate) fn recordings(kind: &str, list: &str) -> Vec<Recording> {
    let folder = folder().join(kind);
    let index = folder.join("index.json");
    let text =
        fs::read_to_string(&index).unwrap_or_else(|error| panic!("{}: {error}", index.display()));
    let index: Json = serde_json::from_str(&keep_surrogates(&text)).unwrap();
    let recordings = index[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|facts| Recording {
            bytes: fs::read(folder.join(facts["file"].as_str().unwrap())).unwrap(),
            facts: facts.clone(),
        });
    recordings.collect()
}

fn folder() -> PathBuf {
    match std::env::var_os("ROLLCALL_GOLDEN") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden"),
    }
}

/// Stands for a surrogate in a text of the index; four hexadecimal digits follow.
const SURROGATE: char = '\u{f8ff}';

/// JSON may spell a lone surrogate, no Rust string can hold it: each becomes a mark and its digits.
fn keep_surrogates(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let is_surrogate = escape.starts_with("\\u")
            && matches!(
                escape.as_bytes()[2..4],
                [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F']
            );
        if is_surrogate {
            out.push(SURROGATE);
        } else {
            out.push_str(&escape[..2]);
        }
        rest = &escape[2..];
    }
    out.push_str(rest);
    out
}

/// The UTF-16 units of a text of the index.
pub(crate) fn units(text: &str) -> Vec<u16> {
    let mut parts = text.split(SURROGATE);
    let mut units: Vec<u16> = parts.next().unwrap().encode_utf16().collect();
    for part in parts {
        units.push(u16::from_str_radix(&part[..4], 16).unwrap());
        units.extend(part[4..].encode_utf16());
    }
    units
}

/// Where to cut a recording: everywhere, or in about 300 places of a long one.
pub(crate) fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let step = if bytes.len() <= 4_096 {
        1
    } else {
        bytes.len() / 300
    };
    (0..bytes.len())
        .step_by(step)
        .chain(bytes.len().checked_sub(1))
}
