//! What a tracker has signed: tickets for other peers, tokens for itself and other trackers.
//!
//! ```text
//! <key: 32 bytes><signature: 64 bytes><what is said>
//! ```
//!
//! The signature is Ed25519 over a purpose and what is said: what was signed for one purpose is
//! nothing for another one. Not here: whose signatures are believed.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::key::TrackerKey;

/// Bytes in front of what is said.
pub const OVERHEAD: usize = 32 + 64;

/// What is said, with the key and the signature in front.
pub fn sign(purpose: &[u8], said: &[u8], key: &SigningKey) -> Vec<u8> {
    let signature = key.sign(&[purpose, said].concat());
    let key = key.verifying_key().to_bytes();
    [&key[..], &signature.to_bytes(), said].concat()
}

/// Who has signed for this purpose, and what. None if nobody has.
pub fn open<'a>(purpose: &[u8], bytes: &'a [u8]) -> Option<(TrackerKey, &'a [u8])> {
    let (key, rest) = bytes.split_first_chunk::<32>()?;
    let (signature, said) = rest.split_first_chunk::<64>()?;
    let verifying = VerifyingKey::from_bytes(key).ok()?;
    let signed = [purpose, said].concat();
    let signature = Signature::from_bytes(signature);
    verifying.verify_strict(&signed, &signature).ok()?;
    Some((TrackerKey(*key), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_opened_for_its_purpose_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let bytes = sign(b"this", b"said", &key);
        assert_eq!(bytes.len(), OVERHEAD + 4);
        let signer = TrackerKey(key.verifying_key().to_bytes());
        assert_eq!(open(b"this", &bytes), Some((signer, &b"said"[..])));
        assert_eq!(open(b"that", &bytes), None);
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            assert_eq!(open(b"this", &changed), None, "byte {i} changed");
            assert_eq!(open(b"this", &bytes[..i]), None, "cut at {i}");
        }
    }
}
