//! The functions that run most often, each by itself: `make bench-hot`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use mini_bittorrent::announce::request::{AnnounceRequest, Event};
use mini_bittorrent::registry::Seconds;
use mini_bittorrent::registry::swarms::{Limits, Swarms};
use mini_bittorrent::torrent::bitfield::Bitfield;
use mini_bittorrent::torrent::id::{ConnId, InfoHash, PeerId, PieceHash};
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::torrent::picker::{Picked, Picker};
use mini_bittorrent::wire::codec;
use mini_bittorrent::wire::message::{BlockRequest, Message};

criterion_group!(hot, bencode, wire, picker, announce);
criterion_main!(hot);

fn bencode(c: &mut Criterion) {
    const FILES: usize = 10_000;
    let file = |nth: usize| {
        (
            vec![format!("folder-{}", nth / 100), format!("{nth}.dat")],
            10 << 10,
        )
    };
    let files = (0..FILES).map(file).collect();
    let layout = Layout::folder("many".into(), files, 1 << 19).expect("it can be cut");
    let hashes: Vec<PieceHash> = layout.all_pieces().map(|_| PieceHash([7; 20])).collect();
    let torrent = Metainfo::build(layout.clone(), hashes.clone(), false);
    let bytes = torrent.to_bytes();
    c.bench_function("read a torrent of 10,000 files", |b| {
        b.iter(|| Metainfo::parse(black_box(&bytes)));
    });
    c.bench_function("make a torrent of 10,000 files", |b| {
        let parts = || (layout.clone(), hashes.clone());
        let build = |(layout, hashes)| Metainfo::build(layout, hashes, false);
        b.iter_batched(parts, build, BatchSize::LargeInput);
    });
}

fn wire(c: &mut Criterion) {
    let request = BlockRequest {
        index: 1234,
        begin: 3 << 14,
        length: 1 << 14,
    };
    for (name, message) in [
        ("request", Message::Request(request)),
        ("have", Message::Have(1234)),
    ] {
        let mut out = Vec::new();
        c.bench_function(&format!("write {name}"), |b| {
            b.iter(|| {
                out.clear();
                codec::encode(black_box(&message), &mut out);
            });
        });
        let frame = out[4..].to_vec();
        c.bench_function(&format!("read {name}"), |b| {
            b.iter(|| codec::decode(black_box(&frame)));
        });
    }
    let header = codec::encode_piece_header(request);
    c.bench_function("write the header of a block", |b| {
        b.iter(|| codec::encode_piece_header(black_box(request)));
    });
    c.bench_function("read the header of a block", |b| {
        let (length, header) = header.split_first_chunk().expect("four bytes of length");
        let header = header.try_into().expect("the rest");
        b.iter(|| {
            let length = codec::frame_length(black_box(*length)).expect("a good length");
            codec::piece_header(black_box(header), length)
        });
    });
}

/// 10,000 pieces, and 50 peers that have half of them each.
fn picker(c: &mut Criterion) {
    const PIECES: u32 = 10_000;
    const PEERS: u64 = 50;
    let layout = Layout::single("x".into(), PIECES.into(), 1).expect("it can be cut");
    let mut rng = StdRng::seed_from_u64(1);
    let mut ours = Bitfield::none(PIECES);
    ours.insert(layout.piece(0).expect("the first piece"));
    let mut picker = Picker::new(ours, layout.all_pieces(), 1);
    let mut random_half = || {
        let mut half = Bitfield::none(PIECES);
        for piece in layout.all_pieces().filter(|_| rng.random()) {
            half.insert(piece);
        }
        half
    };
    let theirs: Vec<Bitfield> = (0..PEERS).map(|_| random_half()).collect();
    for (conn, theirs) in (0..).map(ConnId).zip(&theirs) {
        picker.gained(conn, layout.all_pieces().filter(|piece| theirs.has(*piece)));
    }
    let now = Instant::now();
    let mut conns = (0..PEERS).cycle();
    c.bench_function("pick a piece, and give it back", |b| {
        b.iter(|| {
            let conn = conns.next().unwrap_or(0);
            let picked = picker.pick(now, ConnId(conn), &theirs[conn as usize], false);
            if let Picked::New(piece) = picked {
                picker.released(ConnId(conn), piece);
            }
        });
    });
    let mut pieces = layout.all_pieces().cycle();
    let other = ConnId(PEERS);
    c.bench_function("a peer has a piece, and has it no longer", |b| {
        b.iter(|| {
            let piece = pieces.next();
            picker.gained(other, piece);
            picker.lost(piece);
        });
    });
}

/// 1,000 swarms of 100 peers.
fn announce(c: &mut Criterion) {
    const SWARMS: u32 = 1_000;
    const PEERS: u32 = 100_000;
    const WANTED: usize = 50;
    let mut swarms = Swarms::new(Limits::default());
    let mut rng = StdRng::seed_from_u64(1);
    let announce = |nth: u32| {
        let numbered = |number: u32| {
            let mut id = [0; 20];
            id[..4].copy_from_slice(&number.to_le_bytes());
            id
        };
        let request = AnnounceRequest {
            info_hash: InfoHash(numbered(nth % SWARMS)),
            peer_id: PeerId(numbered(nth)),
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: u64::from(nth % 3),
            event: Event::None,
            numwant: None,
        };
        (IpAddr::from(Ipv4Addr::from(0x0a00_0000 + nth)), request)
    };
    for nth in 0..PEERS {
        let (ip, request) = announce(nth);
        let known = swarms.announce(Seconds(0), ip, &request, 0, &mut rng);
        known.expect("there is room");
    }
    let mut order = StdRng::seed_from_u64(2);
    let mut group = c.benchmark_group("registry");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("announce, 50 peers wanted", |b| {
        let next = || announce(order.random_range(0..PEERS));
        b.iter_batched(
            next,
            |(ip, request)| swarms.announce(Seconds(1), ip, &request, WANTED, &mut rng),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}
