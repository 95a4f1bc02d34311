use super::*;
use crate::control::names::GroupName;
use crate::control::stamp::Stamp;
use crate::registry::change::Offer;
use crate::registry::fact::Fact;
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

/// What another store lacks, piece by piece. How many pieces there were.
fn tell(from: (&Store, &Known), to: (&Store, &Known)) -> usize {
    let (ours, mut theirs) = (from.1.versions(), to.1.versions());
    let mut pieces = 0;
    while theirs.lacks(&ours) {
        let piece = from.0.after(theirs.clone(), ours.clone()).unwrap();
        let bytes = piece.encode();
        theirs.merge(&piece.versions);
        to.0.merge(Batch::decode(&bytes).unwrap()).unwrap();
        assert!(!to.1.versions().lacks(&theirs));
        pieces += 1;
    }
    pieces
}

fn digest(known: &Known) -> String {
    known.look(|facts| facts.digest().to_string())
}

#[test]
fn what_another_store_lacks_is_read_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let (first, known) = start(Some(&path));
    fill(&first, &known);
    let (second, other) =
        Store::start(None, 2, Limits::default(), Arc::default(), Arc::default()).unwrap();
    assert_eq!(tell((&first, &known), (&second, &other)), 1);
    assert_eq!(digest(&other), digest(&known));
    assert_eq!(
        tell((&first, &known), (&second, &other)),
        0,
        "nothing twice"
    );
    // The clock of the other one goes on after what it was told.
    let frank = user(&second, "frank");
    assert!(Some(frank.0) > known.look(Facts::latest));
    assert_eq!(tell((&second, &other), (&first, &known)), 1);
    assert_eq!(digest(&other), digest(&known));
    assert_eq!(other.versions(), known.versions());
    // Also when the last facts of a tracker are superseded by another one's.
    let yours = |known: &Known| Change::SetPassword {
        was: known.look(|facts| facts.password(frank).unwrap().stamp),
        hash: "$other".into(),
    };
    first.change(None, Some(frank), yours(&known)).unwrap();
    tell((&first, &known), (&second, &other));
    second.change(None, Some(frank), yours(&other)).unwrap();
    tell((&second, &other), (&first, &known));
    let (third, empty) = start(None);
    tell((&first, &known), (&third, &empty));
    assert_eq!(
        tell((&first, &known), (&third, &empty)),
        0,
        "nothing for ever"
    );
    assert_eq!(empty.versions(), known.versions());
    assert_eq!(digest(&empty), digest(&known));
}

#[test]
fn many_facts_go_in_pieces_in_the_order_of_their_stamps() {
    let (first, known) = start(None);
    let (second, other) = start(None);
    let stamp = |time| Stamp { time, tracker: 1 };
    let name = |n: u64| format!("user{n}").parse().unwrap();
    // Stamps of different lengths, and more facts than a piece has.
    let times = (1..=6000).map(|n| n * n);
    let entry = |time| Entry {
        stamp: stamp(time),
        fact: Fact::User {
            id: UserId(stamp(time)),
            name: name(time),
        },
    };
    let entries: Vec<Entry> = times.map(entry).collect();
    for entries in entries.chunks(2000) {
        let versions = entries.iter().map(|entry| entry.stamp).collect();
        let batch = Batch {
            entries: entries.to_vec(),
            versions,
            ..Batch::default()
        };
        first.merge(batch).unwrap();
    }
    let piece = first.after(other.versions(), known.versions()).unwrap();
    assert!(piece.entries.is_sorted_by_key(|entry| entry.stamp) && piece.entries.len() < 6000);
    assert_eq!(
        piece.versions.of(1),
        piece.entries.last().unwrap().stamp.time
    );
    assert!(tell((&first, &known), (&second, &other)) > 1);
    assert_eq!(digest(&other), digest(&known));
}

#[test]
fn a_request_with_a_number_is_done_once_also_after_a_restart_and_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let (store, _) = start(Some(&path));
    let alice = user(&store, "alice");
    let number = |i| Some(RequestId([i; 16]));
    let create = || Change::CreateGroup { group: group() };
    let done = store.change(number(1), Some(alice), create()).unwrap();
    assert_eq!(store.change(number(1), Some(alice), create()), Ok(done));
    assert!(store.change(number(2), Some(alice), create()).is_err());
    store.stop();
    let (store, known) = start(Some(&path));
    assert_eq!(known.answer(&RequestId([1; 16])), Some(done));
    assert_eq!(known.answer(&RequestId([2; 16])), None);
    assert_eq!(store.change(number(1), Some(alice), create()), Ok(done));
    let (second, other) = start(None);
    tell((&store, &known), (&second, &other));
    assert_eq!(second.change(number(1), Some(alice), create()), Ok(done));
    assert_eq!(digest(&other), digest(&known));
}

/// A file of the first version has no table of answers, and no versions.
#[test]
fn a_file_of_before_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let (store, known) = start(Some(&path));
    fill(&store, &known);
    let (before, versions) = (digest(&known), known.versions());
    store.stop();
    drop(store);
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("DROP TABLE done; DROP TABLE versions; DROP INDEX users_order")
        .unwrap();
    drop(other);
    let (_store, known) = start(Some(&path));
    assert_eq!(digest(&known), before);
    assert_eq!(known.versions(), versions);
}
