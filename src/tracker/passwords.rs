//! Password hashes: Argon2id with the parameters that OWASP asks for.
//!
//! A hash is slow and takes 19 MiB, on purpose. So no more than two are computed at once; others
//! wait a moment for their turn, and when too many wait or it takes too long, they are told so.
//! Not here: who has which password, and who has been wrong too often (`registry::attempts`).

use std::time::{Duration, Instant};

use argon2::password_hash::SaltString;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use parking_lot::{Condvar, Mutex};

use crate::control::password::Password;

/// Memory of a hash in KiB, passes over it, and lanes.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The most that a hash which is already there may ask for, in the same units. Another tracker may
/// have made it.
const MAX_MEMORY: u32 = 64 * 1024;
const MAX_PASSES: u32 = 4;
const MAX_LANES: u32 = 4;
/// Random bytes that make equal passwords differ.
const SALT: usize = 16;
/// Compared with when there is no such user, so that time does not tell. No password fits it, but
/// for chance.
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
}

/// The right to compute a hash, given back when dropped.
struct Place<'a>(&'a Passwords);

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
        let _place = self.enter()?;
        let salt: [u8; SALT] = rand::random();
        let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
        let hash = argon2().hash_password(password.reveal().as_bytes(), &salt);
        Ok(hash.expect("256 bytes are not too long").to_string())
    }

    /// Whether the password is the one of the hash. Without a hash it is not, and it takes as long
    /// to find out.
    pub fn verify(&self, password: &Password, hash: Option<&str>) -> Result<bool, Busy> {
        let _place = self.enter()?;
        let known = hash.and_then(readable);
        let nobody = PasswordHash::new(NOBODY).expect("a hash that was written by us");
        let fits = argon2()
            .verify_password(
                password.reveal().as_bytes(),
                known.as_ref().unwrap_or(&nobody),
            )
            .is_ok();
        Ok(fits && known.is_some())
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
        Ok(Place(self))
    }
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords::new()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.places.lock().taken -= 1;
        self.0.free.notify_one();
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, LANES, None).expect("parameters within the limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The hash, if it is one that we can afford to compare with.
fn readable(text: &str) -> Option<PasswordHash<'_>> {
    let hash = PasswordHash::new(text).ok();
    let affordable = |hash: &PasswordHash<'_>| {
        Params::try_from(hash).is_ok_and(|params| {
            params.m_cost() <= MAX_MEMORY
                && params.t_cost() <= MAX_PASSES
                && params.p_cost() <= MAX_LANES
        })
    };
    let hash = hash.filter(affordable);
    if hash.is_none() {
        log::error!(target: "tracker", "a password hash is damaged: its user cannot log in");
    }
    hash
}

#[cfg(test)]
mod tests {
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
        ] {
            assert_eq!(
                passwords.verify(&password("x"), Some(wrong)),
                Ok(false),
                "{wrong}"
            );
        }
    }

    #[test]
    fn nobody_takes_as_long_as_somebody() {
        let passwords = Passwords::new();
        let hash = passwords.hash(&password("x")).unwrap();
        // The fastest of some: what else the machine does makes some slower, and none faster.
        let fastest = |hash: Option<&str>| {
            let time = |_| {
                let began = Instant::now();
                passwords.verify(&password("y"), hash).unwrap();
                began.elapsed()
            };
            (0..7).map(time).min().unwrap()
        };
        let (somebody, nobody) = (fastest(Some(&hash)), fastest(None));
        println!("somebody {somebody:?}, nobody {nobody:?}");
        assert!(
            nobody * 2 > somebody && somebody * 2 > nobody,
            "{somebody:?}, {nobody:?}"
        );
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
