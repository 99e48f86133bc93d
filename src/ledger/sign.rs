//! Signed checkpoints: a head, signed with an ed25519 key, as a text that leaves the machine. Whoever has kept one can
//! later tell whether anything that the log said then was changed.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

use super::error::LedgerError;
use super::store::Store;
use super::stream::{self, Head, Stream};
use crate::hash::Id;

const TITLE: &str = "metadsl checkpoint 1";

/// A head and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The head.
    pub head: Head,
    /// The signer's public key, 64 hexadecimal digits.
    pub key: String,
}

/// The text of a signed head. `secret` is the ed25519 seed.
pub fn sign(head: &Head, secret: &[u8; 32]) -> String {
    let key = SigningKey::from_bytes(secret);
    let body = body(head);
    let signature = key.sign(body.as_bytes());
    format!("{body}key {}\nsignature {}\n", hex(key.verifying_key().as_bytes()), hex(&signature.to_bytes()))
}

/// The public key of a seed, as 64 hexadecimal digits.
pub fn public_key(secret: &[u8; 32]) -> String {
    hex(SigningKey::from_bytes(secret).verifying_key().as_bytes())
}

/// A new seed.
pub fn new_secret() -> Result<[u8; 32], LedgerError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| LedgerError::Random(e.to_string()))?;
    Ok(secret)
}

/// 32 bytes from 64 hexadecimal digits.
pub fn read_key(text: &str) -> Option<[u8; 32]> {
    text.trim().parse::<Id>().ok().map(|id| *id.as_bytes())
}

fn body(head: &Head) -> String {
    format!("{TITLE}\nstream {}\nframes {}\nroot {}\n", head.stream, head.frames, head.root)
}

/// Reads the checkpoints of a text, in blocks of six lines, and checks their signatures.
pub fn read_checkpoints(text: &str) -> Result<Vec<Checkpoint>, String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return Err("it holds no checkpoint".to_owned());
    }
    lines.chunks(6).map(read_checkpoint).collect()
}

fn read_checkpoint(lines: &[&str]) -> Result<Checkpoint, String> {
    let [TITLE, rest @ ..] = lines else { return Err(format!("a checkpoint begins with `{TITLE}`")) };
    let field = |at: usize, name: &str| {
        let line = rest.get(at).and_then(|line| line.strip_prefix(name)).and_then(|line| line.strip_prefix(' '));
        line.ok_or_else(|| format!("line {} of a checkpoint begins with `{name} `", at + 2))
    };
    let head = Head {
        stream: field(0, "stream")?.to_owned(),
        frames: field(1, "frames")?.parse().map_err(|_| "the number of frames is no number".to_owned())?,
        root: field(2, "root")?.parse().map_err(|e| format!("the root: {e}"))?,
    };
    let key = field(3, "key")?;
    let wrong = || "its signature is not that of its key over what it says".to_owned();
    let public = read_key(key).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).ok_or_else(wrong)?;
    let signature = field(4, "signature")?;
    let (left, right) = signature.split_at_checked(64).ok_or_else(wrong)?;
    let halves = read_key(left).zip(read_key(right)).ok_or_else(wrong)?;
    let bytes: Vec<u8> = [halves.0, halves.1].concat();
    let signature = Signature::from_slice(&bytes).map_err(|_| wrong())?;
    public.verify(body(&head).as_bytes(), &signature).map_err(|_| wrong())?;
    Ok(Checkpoint { head, key: key.to_owned() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Store {
    /// What this ledger's logs say otherwise than a head that somebody kept, if anything.
    pub fn since(&self, head: &Head) -> Result<Option<String>, LedgerError> {
        if !stream::names(&self.place)?.contains(&head.stream) {
            return Ok(Some(format!("the log stream `{}` is not there", head.stream.escape_debug())));
        }
        Ok(Stream::read(&self.place, &head.stream)?.contradiction(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_is_read() {
        let head = Head { stream: "main".into(), frames: 3, root: Id::from_bytes([7; 32]) };
        let text = sign(&head, &[1; 32]);
        let read = read_checkpoints(&text).unwrap();
        assert_eq!(read, [Checkpoint { head, key: public_key(&[1; 32]) }]);
        assert_eq!(read_checkpoints(&format!("{text}\n{text}")).map(|all| all.len()), Ok(2));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert!(read_checkpoints(&String::from_utf8(bytes).unwrap()).is_err(), "byte {at}");
        }
        for wrong in ["", "metadsl checkpoint 1\n", &text[..text.len() / 2]] {
            assert!(read_checkpoints(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_that_of_rfc_8032() {
        // The first test vector of RFC 8032, section 7.1.
        let secret = read_key("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        assert_eq!(public_key(&secret), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    }
}
