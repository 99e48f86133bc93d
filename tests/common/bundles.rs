//! Bundles taken apart and put together by hand, as a hostile hand would.
#![allow(dead_code, reason = "every test binary uses a part of it")]

/// The code of evidence.
pub const EVIDENCE: u8 = 255;
const TITLE: &[u8] = b"metadsl bundle 1\n";

/// Sections behind the first line, with a right hash at the end.
pub fn forged(sections: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = TITLE.to_vec();
    for &(code, payload) in sections {
        bytes.push(code);
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    let check = blake3::derive_key("metadsl 2026 bundle", &bytes);
    [&bytes[..], &check].concat()
}

/// The sections of a sound bundle.
pub fn sections(bundle: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    let mut rest = &bundle[TITLE.len()..bundle.len() - 32];
    while let [code, tail @ ..] = rest {
        let length = u64::from_le_bytes(tail[..8].try_into().expect("8 bytes")) as usize;
        found.push((*code, &tail[8..8 + length]));
        rest = &tail[8 + length..];
    }
    found
}
