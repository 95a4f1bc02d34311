use super::*;
use crate::control::names::GroupName;
use crate::registry::change::Offer;
use crate::torrent::id::PieceHash;
use crate::torrent::layout::Layout;
use crate::torrent::metainfo::Metainfo;

fn start(path: Option<&Path>) -> (Store, Arc<Known>) {
    Store::start(path, 1, Limits::default(), Arc::default(), Arc::default()).unwrap()
}

fn user(store: &Store, name: &str) -> UserId {
    let create = Change::CreateUser {
        name: name.parse().unwrap(),
        hash: "$hash".into(),
    };
    match store.change(None, None, create).unwrap() {
        Done::UserCreated(user) => user,
        other => panic!("{other:?}"),
    }
}

fn group() -> GroupName {
    "CS101".parse().unwrap()
}

/// One fact of each kind, and of each membership.
fn fill(store: &Store, known: &Known) {
    let [a, b, c, d] = ["Alice", "bob", "carol", "dave"].map(|name| user(store, name));
    let change = |by, change| store.change(None, Some(by), change).unwrap();
    let Done::GroupCreated(id) = change(a, Change::CreateGroup { group: group() }) else {
        panic!("no group");
    };
    for (by, name) in [(b, "bob"), (c, "carol")] {
        change(by, Change::Join { group: group() });
        let (group, user) = (group(), name.parse().unwrap());
        change(a, Change::Accept { group, user });
    }
    let layout = Layout::single("x".into(), 5, 1 << 14).unwrap();
    let metainfo = Metainfo::build_for_group(layout, vec![PieceHash([7; 20])], &id.to_string());
    let info_hash = metainfo.info_hash;
    let offer = Offer {
        group: group(),
        name: "a \"file\"".parse().unwrap(),
        metainfo,
    };
    change(c, Change::Offer(Box::new(offer)));
    change(
        b,
        Change::Completed {
            group: group(),
            info_hash,
        },
    );
    change(c, Change::Leave { group: group() });
    change(d, Change::Join { group: group() });
    let (group, user) = (group(), "dave".parse().unwrap());
    change(a, Change::Reject { group, user });
    change(
        a,
        Change::SetPassword {
            was: known.look(|facts| facts.password(a).unwrap().stamp),
            hash: "$new".into(),
        },
    );
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let (store, known) = start(Some(&path));
    fill(&store, &known);
    store.stop();
    let before = known.look(Facts::clone);
    let (store, known) = start(Some(&path));
    assert_eq!(known.look(Facts::clone), before);
    // The clock goes on after what it knows.
    let erin = user(&store, "erin");
    assert!(Some(erin.0) > before.latest());
}

#[test]
fn many_at_once_are_all_answered_and_one_of_them_wins() {
    let (store, known) = start(None);
    let done: Vec<_> = std::thread::scope(|scope| {
        let create = |i: usize| {
            let store = &store;
            let name = format!("user{}", i / 2).parse().unwrap();
            let hash = "$hash".into();
            scope.spawn(move || {
                store
                    .change(None, None, Change::CreateUser { name, hash })
                    .is_ok()
            })
        };
        let threads: Vec<_> = (0..64).map(create).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(done.iter().filter(|ok| **ok).count(), 32);
    assert_eq!(known.look(Facts::users), 32);
}

#[test]
fn after_a_failed_commit_nothing_has_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let (store, known) = start(Some(&path));
    let alice = user(&store, "alice");
    let before = known.look(Facts::clone);
    // Somebody breaks the database with `sqlite3`.
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("ALTER TABLE groups RENAME TO gone")
        .unwrap();
    let create = || store.change(None, Some(alice), Change::CreateGroup { group: group() });
    for _ in 0..2 {
        let Err(Refused::Internal(sentence)) = create() else {
            panic!("it was done");
        };
        assert!(sentence.contains("nothing was changed"), "{sentence}");
        assert_eq!(known.look(Facts::clone), before);
    }
    // And mends it.
    other
        .execute_batch("ALTER TABLE gone RENAME TO groups")
        .unwrap();
    assert!(matches!(create(), Ok(Done::GroupCreated(_))));
}

#[test]
fn a_stopped_store_answers() {
    let (store, _) = start(None);
    store.stop();
    let name = "late".parse().unwrap();
    let hash = String::new();
    let answer = store.change(None, None, Change::CreateUser { name, hash });
    assert!(matches!(answer, Err(Refused::Internal(_))));
}
