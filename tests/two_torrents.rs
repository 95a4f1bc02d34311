//! The first rung of docs/ONE_PIECE.md: one seed, one downloader, a queue between them, and one
//! thread. No socket, no file, no clock that runs. Read it from `two_torrents_and_a_queue` on.
//!
//! Proves that the rules alone, driven by hand, bring a whole torrent from one side to the
//! other. To see the walk: `cargo test --test two_torrents -- --nocapture`

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_bittorrent::torrent::bitfield::Bitfield;
use mini_bittorrent::torrent::id::{ConnId, PieceHash};
use mini_bittorrent::torrent::layout::{BLOCK, Layout, PieceIndex};
use mini_bittorrent::torrent::loan::Loan;
use mini_bittorrent::torrent::session::{Arriving, Session};
use mini_bittorrent::torrent::{Effect, Event, Torrent};

const SEED: usize = 0;
const DOWNLOADER: usize = 1;
const NAMES: [&str; 2] = ["seed", "downloader"];

/// Both sides call their one connection by this number.
const CONN: ConnId = ConnId(1);

/// Three pieces of two blocks each.
const PIECE: u32 = 2 * BLOCK;
const TOTAL: u64 = 3 * PIECE as u64;

/// Two peers, and what is on its way between them.
struct World {
    content: Vec<u8>,
    layout: Arc<Layout>,
    /// The rules, one for each side.
    torrents: [Torrent; 2],
    /// The downloader's half of the connection: from a piece job to a complete piece.
    session: Session,
    /// What each side will hear, in the order in which it was said.
    queue: VecDeque<(usize, Event)>,
    now: Instant,
    /// What the downloader has got; the disk of the real program.
    disk: Vec<u8>,
    /// Every event and effect, as it is printed.
    walk: Vec<String>,
}

#[test]
fn two_torrents_and_a_queue() {
    let mut world = World::new();
    // A handshake was made, and both say what they have.
    for side in [SEED, DOWNLOADER] {
        world.tell(side, Event::Connected { conn: CONN });
    }
    world.say_what_we_have(SEED);
    world.say_what_we_have(DOWNLOADER);
    // Everything else follows.
    while let Some((side, event)) = world.queue.pop_front() {
        world.now += Duration::from_millis(1);
        world.tell(side, event);
    }

    assert!(world.torrents[DOWNLOADER].is_complete());
    assert!(world.disk == world.content, "the copy is the original");
    assert_in_order(
        &world.walk,
        &[
            "downloader hears Bitfield",
            "downloader says SetInterested",
            "seed hears Interested",
            "seed says Unchoke",
            "downloader hears Unchoked",
            "downloader says Fetch",
            "downloader hears PieceSaved",
            "downloader says Have",
            "seed hears Have",
            "downloader says Completed",
            "downloader says PartAsSeeds",
        ],
    );
}

impl World {
    fn new() -> World {
        let layout = Arc::new(Layout::single("lecture".into(), TOTAL, PIECE).unwrap());
        let (all, none) = (Bitfield::all(3), Bitfield::none(3));
        // Served peers at once, and the seed of all chance.
        let (slots, chance) = (8, 42);
        World {
            content: (0..TOTAL).map(|i| (i * 7 % 251) as u8).collect(),
            torrents: [
                Torrent::new(layout.clone(), all, slots, chance),
                Torrent::new(layout.clone(), none, slots, chance),
            ],
            session: Session::new(layout.clone()),
            layout,
            queue: VecDeque::new(),
            now: Instant::now(),
            disk: vec![0; TOTAL as usize],
            walk: Vec::new(),
        }
    }

    /// One side's rules hear what has happened. What they want done is done at once.
    fn tell(&mut self, side: usize, event: Event) {
        self.note(format!("{} hears {event:?}", NAMES[side]));
        let mut effects = Vec::new();
        self.torrents[side].handle(self.now, event, &mut effects);
        for effect in effects {
            self.note(format!("{} says {effect:?}", NAMES[side]));
            self.carry_out(side, effect);
        }
    }

    /// An effect on one side becomes an event on the other. In the real program it becomes a
    /// message on the wire first: `Managed::carry_out` sends it, `Reader::understand` hears it.
    fn carry_out(&mut self, side: usize, effect: Effect) {
        let other = 1 - side;
        let conn = CONN;
        let heard = match effect {
            Effect::SetInterested {
                interested: true, ..
            } => Event::Interested { conn },
            Effect::SetInterested {
                interested: false, ..
            } => Event::NotInterested { conn },
            Effect::Unchoke { .. } => {
                self.session.unchoked();
                Event::Unchoked { conn }
            }
            Effect::Choke { .. } => {
                self.session.choked();
                Event::Choked { conn }
            }
            Effect::Have { piece, .. } => Event::Have { conn, piece },
            Effect::Suggest { piece, .. } => Event::Suggested { conn, piece },
            Effect::Fetch { piece, .. } => {
                // The downloader's own connection does it, and reports to its own rules.
                let saved = self.fetch(piece);
                self.queue.push_back((side, saved));
                return;
            }
            Effect::Cancel { .. } | Effect::Ban { .. } => panic!("nobody is late, nobody lies"),
            Effect::PartAsSeeds { .. } | Effect::Completed => return,
        };
        self.queue.push_back((other, heard));
    }

    /// A piece job, from its first request to the disk. In the real program the thread
    /// `conn-w-N` asks, and `conn-r-N` does everything else.
    fn fetch(&mut self, piece: PieceIndex) -> Event {
        // The real program counts how much memory all pieces on their way take.
        let loan = Loan::uncounted(self.layout.piece_size(piece));
        self.session.take_job(piece, loan);
        let mut complete = None;
        for block in self.session.requests() {
            self.note(format!("  request piece {piece} from {}", block.begin));
            let arriving = self
                .session
                .arriving(piece.as_u32(), block.begin, block.length);
            let Ok(Arriving::Wanted { block, mut place }) = arriving else {
                panic!("it was asked for");
            };
            // What the wire does: the seed's bytes come to their place in the piece.
            let range = block.begin as usize..(block.begin + block.length) as usize;
            let start = self.layout.piece_offset(piece) as usize;
            place.bytes_mut()[range.clone()].copy_from_slice(&self.content[start..][range]);
            complete = self.session.arrived(self.now, block, place);
        }
        let fetch = complete.expect("its last block has come");
        let (place, hash) = fetch.finish();
        let bytes = place.bytes();
        let start = self.layout.piece_offset(piece) as usize;
        // The real program compares with the hash in the torrent file.
        let right = PieceHash::of(&self.content[start..][..bytes.len()]);
        assert!(hash == right, "the piece is what it should be");
        self.disk[start..][..bytes.len()].copy_from_slice(bytes);
        self.note(format!("  piece {piece} is hashed and written"));
        Event::PieceSaved { conn: CONN, piece }
    }

    fn say_what_we_have(&mut self, side: usize) {
        let pieces = self.torrents[side].have().clone();
        let event = Event::Bitfield { conn: CONN, pieces };
        self.queue.push_back((1 - side, event));
    }

    fn note(&mut self, line: String) {
        println!("{line}");
        self.walk.push(line);
    }
}

/// Each of `stations` begins a line of `walk`, and they come in this order.
fn assert_in_order(walk: &[String], stations: &[&str]) {
    let mut rest = walk.iter();
    for station in stations {
        assert!(
            rest.any(|line| line.starts_with(station)),
            "`{station}` is missing, or comes too early"
        );
    }
}
