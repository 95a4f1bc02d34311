//! What one decision of the rules costs: how it grows with the pieces of a torrent and with the peers.
//!
//! A whole [`Torrent`] is asked, as the engine asks it: an event goes in, effects come out. So a
//! decision is a pick and everything around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use mini_bittorrent::torrent::bitfield::Bitfield;
use mini_bittorrent::torrent::id::ConnId;
use mini_bittorrent::torrent::layout::{Layout, PieceIndex};
use mini_bittorrent::torrent::{Effect, Event, Torrent};

use super::figures::Figures;
use super::plot::{Line, Plot};
use super::report::{Section, Table, Wanted, number};
use super::settings::Settings;

const PIECES: [u32; 5] = [1_000, 3_000, 10_000, 30_000, 100_000];
const PEERS: [u64; 4] = [10, 50, 150, 500];

/// Events that are measured in each swarm, if it lasts so long.
const EVENTS: usize = 1_000;
/// How long a swarm is measured at most.
const LONGEST: Duration = Duration::from_millis(200);

pub fn run(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("A decision of the rules");
    section.say(format!(
        "What one event costs in `Torrent::handle`: mean of {} events, median of {} swarms, in \
         microseconds. The thread that decides does nothing else meanwhile.",
        EVENTS,
        settings.rounds()
    ));
    let pieces = settings.pick(&[1_000, 100_000][..], &PIECES[..]);
    let peers = settings.pick(&[10, 500][..], &PEERS[..]);
    for case in &CASES {
        section.say(format!("**{}**: {}.", case.name, case.what));
        let columns = peers.iter().map(|peers| format!("{peers} peers"));
        let mut table = Table::of(["pieces".to_string()].into_iter().chain(columns));
        let mut lines: Vec<Line> = (peers.iter())
            .map(|peers| Line {
                name: format!("{peers} peers"),
                points: Vec::new(),
            })
            .collect();
        for &pieces in pieces {
            let mut row = vec![number(pieces.into())];
            for (&peers, line) in peers.iter().zip(&mut lines) {
                let rounds = (0..settings.rounds()).map(|_| case.measure(pieces, peers));
                let micros = rounds.collect::<Figures>().median();
                line.points.push((pieces.into(), micros));
                row.push(number(micros));
            }
            table.row(row);
        }
        section.table(&table);
        if case.is_plotted {
            for line in &lines {
                if let [(few, first), .., (many, last)] = line.points[..] {
                    section.aim(
                        format!(
                            "{}, {}, cost at {} pieces / at {}",
                            case.name,
                            line.name,
                            number(many),
                            number(few)
                        ),
                        Wanted::AtMost(many.ln() / few.ln()),
                        last / first,
                    );
                }
            }
            section.plots.push(Plot {
                name: format!(
                    "picker-{}",
                    case.name.replace([',', ' '], "-").replace("--", "-")
                ),
                title: format!("A decision: {}", case.name),
                axes: ["pieces".into(), "microseconds".into()],
                lines,
                log_up: true,
            });
        }
    }
    let mut table = Table::new([
        "pieces",
        "half comes",
        "half goes",
        "seed comes",
        "seed goes",
    ]);
    for &pieces in pieces {
        let half = comes_and_goes(pieces, Swarm::random_half);
        let seed = comes_and_goes(pieces, |swarm| Bitfield::all(swarm.pieces()));
        let cells = half.into_iter().chain(seed).map(number);
        table.row([number(pieces.into())].into_iter().chain(cells));
    }
    section
        .say("A peer with a random half, or with everything, comes and goes; 50 others are there:");
    section.table(&table);
    Ok(section)
}

/// What happens in a swarm, and what is in it.
struct Case {
    name: &'static str,
    what: &'static str,
    is_plotted: bool,
    build: fn(u32, u64) -> Swarm,
    happens: fn(&mut Swarm) -> Option<Event>,
}

const CASES: [Case; 10] = [
    Case {
        name: "saved, random halves",
        what: "a piece is saved, and the next is picked; each peer has a random half of the pieces",
        is_plotted: true,
        build: |pieces, peers| Swarm::new(pieces, peers, 0).full_of(Swarm::random_half),
        happens: Swarm::saves,
    },
    Case {
        name: "saved, seeds",
        what: "a piece is saved, and the next is picked; all peers have everything",
        is_plotted: false,
        build: |pieces, peers| {
            Swarm::new(pieces, peers, 0).full_of(|it| Bitfield::all(it.pieces()))
        },
        happens: Swarm::saves,
    },
    Case {
        name: "saved, rare elsewhere",
        what: "the same; one peer alone has nine tenths of the pieces, all others have the rest and ten more",
        is_plotted: true,
        build: |pieces, peers| Swarm::new(pieces, peers, 0).rare_elsewhere(),
        happens: Swarm::saves,
    },
    Case {
        name: "saved, others idle",
        what: "the same; one peer gives, and what the others have is on its way already",
        is_plotted: true,
        build: |pieces, peers| Swarm::new(pieces, peers, 0).others_idle(),
        happens: Swarm::saves_from_the_first,
    },
    Case {
        name: "saved, endgame",
        what: "a piece is saved when all the rest is on its way, from seeds",
        is_plotted: false,
        build: |pieces, peers| {
            let missing = (3 * peers as u32).min(pieces / 2);
            Swarm::new(pieces, peers, pieces - missing).full_of(|it| Bitfield::all(it.pieces()))
        },
        happens: Swarm::saves,
    },
    Case {
        name: "Have, to a downloader",
        what: "a peer that serves us has one piece more; each has a random half",
        is_plotted: true,
        build: |pieces, peers| Swarm::new(pieces, peers, 0).full_of(Swarm::random_half),
        happens: Swarm::gains,
    },
    Case {
        name: "Have, nothing open",
        what: "the same; what the peers have is on its way already",
        is_plotted: false,
        build: |pieces, peers| Swarm::new(pieces, peers, pieces / 2).others_idle(),
        happens: Swarm::gains_what_we_have,
    },
    Case {
        name: "Have, to a seed",
        what: "a peer that we serve has one piece more",
        is_plotted: false,
        build: |pieces, peers| Swarm::new(pieces, peers, pieces).full_of(Swarm::random_half),
        happens: Swarm::gains,
    },
    Case {
        name: "interest, to a seed",
        what: "a peer becomes interested, or is no longer",
        is_plotted: false,
        build: |pieces, peers| Swarm::new(pieces, peers, pieces).full_of(Swarm::random_half),
        happens: Swarm::changes_its_mind,
    },
    Case {
        name: "tick",
        what: "time passes, several times a second; each peer has a random half",
        is_plotted: false,
        build: |pieces, peers| Swarm::new(pieces, peers, 0).full_of(Swarm::random_half),
        happens: |_| Some(Event::Tick),
    },
];

impl Case {
    /// The mean time of one event, in microseconds.
    fn measure(&self, pieces: u32, peers: u64) -> f64 {
        let mut swarm = (self.build)(pieces, peers);
        let (mut took, mut events) = (Duration::ZERO, 0);
        while events < EVENTS
            && took < LONGEST
            && let Some(event) = (self.happens)(&mut swarm)
        {
            took += swarm.tell(event);
            events += 1;
        }
        took.as_secs_f64() * 1e6 / events as f64
    }
}

/// What it costs that a peer with these pieces comes, and goes, in microseconds.
fn comes_and_goes(pieces: u32, theirs: fn(&mut Swarm) -> Bitfield) -> [f64; 2] {
    const ROUNDS: u32 = 10;
    let mut swarm = Swarm::new(pieces, 50, 0).full_of(Swarm::random_half);
    let (mut came, mut went) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let conn = ConnId(1_000 + u64::from(round));
        let pieces = theirs(&mut swarm);
        swarm.tell(Event::Connected { conn });
        came += swarm.tell(Event::Bitfield { conn, pieces });
        went += swarm.tell(Event::Disconnected { conn });
    }
    [came, went].map(|took| took.as_secs_f64() * 1e6 / f64::from(ROUNDS))
}

/// One torrent and its peers, all of whom serve us.
struct Swarm {
    torrent: Torrent,
    layout: Arc<Layout>,
    peers: u64,
    now: Instant,
    /// Piece jobs that were given and are not done yet.
    jobs: Vec<(ConnId, PieceIndex)>,
    effects: Vec<Effect>,
    events: u64,
    rng: StdRng,
}

impl Swarm {
    /// We have the first `have` pieces.
    fn new(pieces: u32, peers: u64, have: u32) -> Swarm {
        let layout = Arc::new(Layout::single("x".into(), pieces.into(), 1).expect("a layout"));
        let mut ours = Bitfield::none(pieces);
        layout.all_pieces().take(have as usize).for_each(|piece| {
            ours.insert(piece);
        });
        Swarm {
            torrent: Torrent::new(layout.clone(), ours, 8, 1),
            layout,
            peers,
            now: Instant::now(),
            jobs: Vec::new(),
            effects: Vec::new(),
            events: 0,
            rng: StdRng::seed_from_u64(1),
        }
    }

    fn pieces(&self) -> u32 {
        self.layout.pieces()
    }

    fn joins(&mut self, conn: u64, pieces: Bitfield) {
        let conn = ConnId(conn);
        self.tell(Event::Connected { conn });
        self.tell(Event::Bitfield { conn, pieces });
        self.tell(Event::Unchoked { conn });
    }

    fn full_of(mut self, theirs: impl Fn(&mut Swarm) -> Bitfield) -> Swarm {
        for conn in 0..self.peers {
            let pieces = theirs(&mut self);
            self.joins(conn, pieces);
        }
        self
    }

    fn random_half(&mut self) -> Bitfield {
        let mut bytes = vec![0; self.pieces() as usize / 8];
        self.rng.fill_bytes(&mut bytes);
        Bitfield::from_bytes(&bytes, self.pieces()).expect("a multiple of eight")
    }

    fn rare_elsewhere(mut self) -> Swarm {
        self.joins(0, Bitfield::all(self.pieces()));
        let rare = self.pieces() as usize / 10 * 9;
        for conn in 1..self.peers {
            let mut theirs = Bitfield::none(self.pieces());
            for piece in self.layout.all_pieces().skip(rare) {
                theirs.insert(piece);
            }
            for _ in 0..10 {
                theirs.insert(self.random_piece());
            }
            self.joins(conn, theirs);
        }
        self
    }

    /// The first peer has everything; the others have what it gives us last.
    fn others_idle(mut self) -> Swarm {
        self.joins(0, Bitfield::all(self.pieces()));
        let on_their_way: Vec<PieceIndex> = self.jobs.iter().map(|job| job.1).collect();
        for conn in 1..self.peers {
            let mut theirs = Bitfield::none(self.pieces());
            on_their_way.iter().for_each(|piece| {
                theirs.insert(*piece);
            });
            self.joins(conn, theirs);
        }
        self
    }

    fn random_piece(&mut self) -> PieceIndex {
        let nth = self.rng.random_range(0..self.pieces());
        self.layout.piece(nth).expect("below the number of pieces")
    }

    fn random_conn(&mut self) -> ConnId {
        ConnId(self.rng.random_range(0..self.peers))
    }

    fn saves(&mut self) -> Option<Event> {
        if self.jobs.is_empty() {
            return None;
        }
        let nth = self.rng.random_range(0..self.jobs.len());
        let (conn, piece) = self.jobs.swap_remove(nth);
        Some(Event::PieceSaved { conn, piece })
    }

    /// The newest job: those that the others wait for stay.
    fn saves_from_the_first(&mut self) -> Option<Event> {
        let (conn, piece) = self.jobs.pop()?;
        Some(Event::PieceSaved { conn, piece })
    }

    fn gains(&mut self) -> Option<Event> {
        let (conn, piece) = (self.random_conn(), self.random_piece());
        Some(Event::Have { conn, piece })
    }

    /// A piece of the first half, which is ours.
    fn gains_what_we_have(&mut self) -> Option<Event> {
        let conn = ConnId(self.rng.random_range(1..self.peers));
        let nth = self.rng.random_range(0..self.pieces() / 2);
        let piece = self.layout.piece(nth)?;
        Some(Event::Have { conn, piece })
    }

    fn changes_its_mind(&mut self) -> Option<Event> {
        self.events += 1;
        let conn = ConnId(self.events / 2 % self.peers);
        Some(match self.events % 2 {
            0 => Event::Interested { conn },
            _ => Event::NotInterested { conn },
        })
    }

    /// Returns how long the rules took.
    fn tell(&mut self, event: Event) -> Duration {
        self.now += Duration::from_millis(1);
        self.effects.clear();
        let began = Instant::now();
        self.torrent.handle(self.now, event, &mut self.effects);
        let took = began.elapsed();
        for effect in &self.effects {
            match *effect {
                Effect::Fetch { conn, piece } => self.jobs.push((conn, piece)),
                Effect::Cancel { conn, piece } => self.jobs.retain(|job| *job != (conn, piece)),
                _ => {}
            }
        }
        took
    }
}
