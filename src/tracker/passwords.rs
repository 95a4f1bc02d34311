//! Password hashes: Argon2id with the parameters that OWASP asks for.
//!
//! A hash is slow and takes 19 MiB, on purpose. So no more than two are computed at once; others
//! wait a moment for their turn, and when too many wait or it takes too long, they are told so.
//! Not here: who has which password, and who has been wrong too often (`registry::attempts`).

use std::time::{Duration, Instant};

use argon2::password_hash::{Output, ParamsString, Salt, SaltString};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version};
use parking_lot::{Condvar, Mutex};

use crate::control::password::Password;

/// Memory of a hash in KiB, passes over it, and lanes.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The most passes that a hash which is already there may ask for; memory and lanes are those
/// above. Another tracker may have made it.
const MAX_PASSES: u32 = 4;
/// Random bytes that make equal passwords differ.
const SALT: usize = 16;
/// Compared with when there is no such user, so that time does not tell.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyBpdCAhIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many hashes are computed at once.
const AT_ONCE: usize = 2;
/// How many may wait for their turn, and for how long: a second is a few dozen hashes.
const MAX_WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes and compares password hashes, a few at once.
pub struct Passwords {
    patience: Duration,
    places: Mutex<Places>,
    free: Condvar,
}

#[derive(Default)]
struct Places {
    taken: usize,
    waiting: usize,
    /// Of places that are free now and have been taken before.
    memory: Vec<Memory>,
}

/// What a hash is computed in. It is kept for the next one: the allocator would keep 19 MiB for
/// each thread that ever computed a hash.
type Memory = Vec<Block>;

/// The right to compute a hash, given back when dropped.
struct Place<'a> {
    passwords: &'a Passwords,
    memory: Memory,
}

/// A hash that is there already.
struct Kept<'a> {
    params: Params,
    salt: Salt<'a>,
    output: Output,
}

/// Too many hashes are wanted at once. For the one who wants to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("many are logging in just now; try again in a moment")]
pub struct Busy;

impl Passwords {
    pub fn new() -> Passwords {
        Passwords {
            patience: PATIENCE,
            places: Mutex::default(),
            free: Condvar::new(),
        }
    }

    /// The hash to be kept, in the form that names its own parameters and salt.
    pub fn hash(&self, password: &Password) -> Result<String, Busy> {
        let params = Params::new(MEMORY, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))
            .expect("parameters within the limits");
        let salt: [u8; SALT] = rand::random();
        let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
        let output = self.enter()?.compute(password, &params, salt.as_salt());
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).expect("three numbers are not too long"),
            salt: Some(salt.as_salt()),
            hash: output,
        };
        Ok(hash.to_string())
    }

    /// Whether the password is the one of the hash. Without a hash it is not, and it takes as long
    /// to find out.
    pub fn verify(&self, password: &Password, hash: Option<&str>) -> Result<bool, Busy> {
        let kept = hash.and_then(Kept::read);
        let nobody = Kept::read(NOBODY);
        let mut place = self.enter()?;
        let Some(compared) = kept.as_ref().or(nobody.as_ref()) else {
            return Ok(false);
        };
        let output = place.compute(password, &compared.params, compared.salt);
        // Outputs are compared in a time that says nothing.
        let fits = output.is_some_and(|output| output == compared.output);
        Ok(fits && kept.is_some())
    }

    /// A place, as soon as one is free.
    fn enter(&self) -> Result<Place<'_>, Busy> {
        let deadline = Instant::now() + self.patience;
        let mut places = self.places.lock();
        if places.taken >= AT_ONCE && places.waiting >= MAX_WAITING {
            return Err(Busy);
        }
        places.waiting += 1;
        while places.taken >= AT_ONCE {
            if self.free.wait_until(&mut places, deadline).timed_out() {
                break;
            }
        }
        places.waiting -= 1;
        // Looked at again: whoever is woken at the last moment must not let the place go by.
        if places.taken >= AT_ONCE {
            return Err(Busy);
        }
        places.taken += 1;
        let memory = places.memory.pop().unwrap_or_default();
        Ok(Place {
            passwords: self,
            memory,
        })
    }
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords::new()
    }
}

impl Place<'_> {
    /// `None` if the parameters ask for more than there is.
    fn compute(&mut self, password: &Password, params: &Params, salt: Salt<'_>) -> Option<Output> {
        // Once for each place, and not under the lock.
        self.memory.resize(MEMORY as usize, Block::new());
        let mut bytes = [0; Salt::MAX_LENGTH];
        let salt = salt.decode_b64(&mut bytes).ok()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let length = params.output_len()?;
        Output::init_with(length, |output| {
            let (password, memory) = (password.reveal().as_bytes(), &mut self.memory[..]);
            Ok(argon2.hash_password_into_with_memory(password, salt, output, memory)?)
        })
        .ok()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.passwords.places.lock();
        places.taken -= 1;
        places.memory.push(std::mem::take(&mut self.memory));
        drop(places);
        self.passwords.free.notify_one();
    }
}

impl Kept<'_> {
    /// The hash, if it is of our kind and one that we can afford to compare with.
    fn read(text: &str) -> Option<Kept<'_>> {
        let kept = PasswordHash::new(text).ok().and_then(|hash| {
            Some(Kept {
                params: Params::try_from(&hash).ok()?,
                salt: hash.salt.filter(|_| is_ours(&hash))?,
                output: hash.hash?,
            })
        });
        let affordable = |kept: &Kept<'_>| {
            let params = &kept.params;
            params.m_cost() <= MEMORY && params.t_cost() <= MAX_PASSES && params.p_cost() <= LANES
        };
        let kept = kept.filter(affordable);
        if kept.is_none() {
            log::error!(target: "tracker", "a password hash is damaged: its user cannot log in");
        }
        kept
    }
}

fn is_ours(hash: &PasswordHash<'_>) -> bool {
    hash.algorithm == ARGON2ID_IDENT && hash.version == Some(Version::V0x13.into())
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher, PasswordVerifier};

    use super::*;

    fn password(text: &str) -> Password {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_right_password_fits() {
        let passwords = Passwords::new();
        let hash = passwords.hash(&password("secret")).unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(passwords.hash(&password("secret")).unwrap(), hash);
        let verify = |text, hash| passwords.verify(&password(text), hash);
        assert_eq!(verify("secret", Some(&hash)), Ok(true));
        assert_eq!(verify("Secret", Some(&hash)), Ok(false));
        assert_eq!(verify("secret", None), Ok(false));
    }

    #[test]
    fn a_damaged_or_dear_hash_fits_nothing() {
        let passwords = Passwords::new();
        let hash = passwords.hash(&password("x")).unwrap();
        for wrong in [
            "",
            "x",
            &hash[..hash.len() / 2],
            &hash.replace("m=19456", "m=4194304"),
            &hash.replace("t=2", "t=1000000"),
            &hash.replace("p=1", "p=200"),
            &hash.replace("argon2id", "argon2i"),
            &hash.replace("v=19", "v=16"),
        ] {
            assert_eq!(
                passwords.verify(&password("x"), Some(wrong)),
                Ok(false),
                "{wrong}"
            );
        }
    }

    #[test]
    fn hashes_are_those_of_everybody() {
        // The crate's own way, which takes new memory each time. Its defaults are OWASP's.
        let theirs = |text: &str, hash: &str| {
            let hash = PasswordHash::new(hash).unwrap();
            let compared = Argon2::default().verify_password(text.as_bytes(), &hash);
            compared.is_ok()
        };
        let passwords = Passwords::new();
        let salt = SaltString::encode_b64(b"some salt it is.").unwrap();
        let hash = Argon2::default().hash_password(b"secret", &salt);
        let hash = hash.unwrap().to_string();
        for (text, fits) in [("secret", true), ("Secret", false), ("secret", true)] {
            assert_eq!(passwords.verify(&password(text), Some(&hash)), Ok(fits));
            let ours = passwords.hash(&password(text)).unwrap();
            assert_eq!(theirs("secret", &ours), fits);
        }
    }

    /// 400 logins once left a tracker with 2.6 GB: the allocator kept 19 MiB for each thread.
    #[test]
    fn memory_is_used_again() {
        let passwords = Passwords::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| passwords.hash(&password("x")).unwrap());
            }
        });
        let places = passwords.places.lock();
        assert!((1..=AT_ONCE).contains(&places.memory.len()));
        assert!(
            places
                .memory
                .iter()
                .all(|memory| memory.len() == MEMORY as usize)
        );
    }

    /// So that time does not tell who has an account.
    #[test]
    fn as_much_is_computed_for_nobody_as_for_somebody() {
        let passwords = Passwords::new();
        assert!(!passwords.verify(&password("y"), None).unwrap());
        let computed_in = passwords.places.lock().memory[0].len();
        assert_eq!(computed_in, MEMORY as usize);
        let somebody = passwords.hash(&password("x")).unwrap();
        let params = |hash| Kept::read(hash).unwrap().params;
        assert_eq!(params(NOBODY), params(&somebody));
    }

    #[test]
    fn the_third_waits_and_is_told_so_in_the_end() {
        let passwords = Passwords {
            patience: Duration::from_millis(20),
            ..Passwords::new()
        };
        let one = passwords.enter().ok().unwrap();
        let _two = passwords.enter().ok().unwrap();
        assert_eq!(passwords.verify(&password("x"), None), Err(Busy));
        assert_eq!(passwords.hash(&password("x")), Err(Busy));
        drop(one);
        assert_eq!(passwords.verify(&password("x"), None), Ok(false));
    }

    #[test]
    fn a_place_that_comes_free_goes_to_one_who_waits() {
        let passwords = Passwords {
            patience: Duration::from_secs(60),
            ..Passwords::new()
        };
        let places = [passwords.enter().ok(), passwords.enter().ok()];
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..MAX_WAITING)
                .map(|_| scope.spawn(|| passwords.enter().is_ok()))
                .collect();
            while passwords.places.lock().waiting < MAX_WAITING {
                std::thread::yield_now();
            }
            assert!(passwords.enter().is_err(), "one more does not wait");
            drop(places);
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        });
        let places = passwords.places.lock();
        assert_eq!((places.taken, places.waiting), (0, 0));
    }
}
