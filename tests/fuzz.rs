//! Proves that no decoder panics, hangs or takes memory for what it is told, whatever comes in.
//!
//! Each decoder gets mutations of valid samples and bytes at random: 20,000 of them, or as many
//! as MINI_FUZZ_INPUTS says (`make fuzz`: a million). The seed is printed; MINI_FUZZ_SEED
//! repeats a run. To add a decoder, add a line to `DECODERS`.

use std::io::{BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use mini_bittorrent::announce::http::Head;
use mini_bittorrent::announce::request::AnnounceRequest;
use mini_bittorrent::announce::response::AnnounceResponse;
use mini_bittorrent::announce::scrape::{ScrapeRequest, ScrapeResponse};
use mini_bittorrent::control::classic::{self, Letters};
use mini_bittorrent::control::frame::read_frame;
use mini_bittorrent::control::key::{PeerKey, TrackerKey};
use mini_bittorrent::control::knock::Knocks;
use mini_bittorrent::control::names::{FileName, GroupName, UserName};
use mini_bittorrent::control::news::NewsLine;
use mini_bittorrent::control::password::Password;
use mini_bittorrent::control::reply::{
    Download, FileEntry, GroupEntry, IssuedTicket, LoggedIn, Reply, announce_from_reply,
    users_from_reply,
};
use mini_bittorrent::control::request::Request;
use mini_bittorrent::control::stamp::{GroupId, Stamp};
use mini_bittorrent::control::sync::{Hello, Standing, SyncMessage, Welcome};
use mini_bittorrent::control::ticket::SignedTicket;
use mini_bittorrent::control::{text, tracker_info};
use mini_bittorrent::peer::noise::{self, Agreed, KeyPair};
use mini_bittorrent::registry::batch::Batch;
use mini_bittorrent::runtime::tls::shown_key;
use mini_bittorrent::storage::resume::Record;
use mini_bittorrent::torrent::bencode::Value;
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::tracker::identity::Identity;
use mini_bittorrent::tracker::token::Token;
use mini_bittorrent::wire::codec;
use mini_bittorrent::wire::extension::ExtendedHandshake;
use mini_bittorrent::wire::handshake::{HANDSHAKE_LENGTH, Handshake};

/// No input may take longer: they are a few kilobytes.
const TIME: Duration = Duration::from_secs(1);
/// What all inputs of all decoders together may add to the process, in kB.
const MEMORY_KB: u64 = 64 * 1024;
/// The longest input, in bytes.
const LONGEST: usize = 4096;

type Decoder = (&'static str, fn(&[u8]), &'static [&'static [u8]]);

const TORRENT: &[u8] = b"d8:announce8:http://t13:announce-listll8:http://tee4:infod5:filesld6:lengthi5e4:pathl1:a1:beed6:lengthi0e4:pathl1:ceee4:name1:x12:piece lengthi4e6:pieces40:aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbb7:privatei1eee";
const SINGLE: &[u8] = b"d4:infod6:lengthi9e4:name3:x y12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa5:otherlleeee";
const HASH: &[u8] = b"announce 0123456789abcdef0123456789abcdef01234567 -mb0010-abcdefghijkl 7600 1 2 3 started 50\n";
/// Of the key with the seed 1, 1, 1, …
const CERTIFICATE: &[u8] = b"0\x82\x01\x050\x81\xb8\xa0\x03\x02\x01\x02\x02\x144u\x0f\x98\xbdY\xfc\xfc\x94m\xa4Z\xaa\xbe\x93;\xe1T\xa4\xb50\x05\x06\x03+ep0\"1 0\x1e\x06\x03U\x04\x03\x0c\x17Mini BitTorrent tracker0 \x17\r750101000000Z\x18\x0f40960101000000Z0\"1 0\x1e\x06\x03U\x04\x03\x0c\x17Mini BitTorrent tracker0*0\x05\x06\x03+ep\x03!\x00\x8a\x88\xe3\xddt\t\xf1\x95\xfdR\xdb-<\xba]r\xcag\t\xbf\x1d\x94\x12\x1b\xf3t\x88\x01\xb4\x0fo\\0\x05\x06\x03+ep\x03A\x00\xc4g0\x95\x91u\xf7o\xe1\x93P4\x19r\x9c\xbb\x05\x8dP\x1c\x9c\x9c\x0fR<\xd0\xcb\xe3\xb5\x88};K.\xa6\xf9\x1b\xc5\x1b\xaf\x12d\xa0.\xf2\xc08\xcc\xaf\x8e\xa9\xdf\xddm5\xc3\x00\x1f@\xddJ\\w\x01";

/// Has the form of a ticket, and no right signature: `ticket` and `token` sign what is in it.
const SIGNED: &[u8] = b"d7:expiresi1800000000e5:group5:cs1012:id4:4d-13:key32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa4:name3:bob8:password3:6-14:user3:5-1e";
/// A signed ticket.
const TICKET: &[u8] = b"\xeaJlc\xe2\x9cR\x0a\xbe\xf5P{\x13.\xc5\xf9\x95Gv\xae\xbe\xbe{\x92B\x1e\xeai\x14F\xd2,\xab\x02g\x88\xde\xd5\xf8'\xad\xfb\xe6\x95;\xfd\x16\x19\xa0\x80\x15!t\x11\xcfN\x1b9qo\x17\xb67\x1aJ\xf5\xb9\xa8l\xb9\xec\x5c\x1a\xc2P'_\xfb\x1a\xc6O\xb5=\xaf\xec\x9a\xd0-7\xfa{\xdc4\x9b&\x0dd7:expiresi1800000000e5:group5:cs1012:id3:7-13:key32:0123456789abcdef0123456789abcdef4:user3:bobe";

/// What trackers tell each other.
const BATCH: &[u8] = b"d8:answeredll16:aaaaaaaaaaaaaaaa3:5-14:leftee5:factsll4:user3:1-13:bobel6:member3:4-13:2-13:1-14:left3:3-1el8:password3:5-13:1-12:$hel6:holder3:6-13:2-11:f20:aaaaaaaaaaaaaaaaaaaa3:1-1i1eee8:versionsl3:9-1ee";

const DECODERS: &[Decoder] = &[
    ("bencode", bencode, &[TORRENT, SINGLE, b"d1:ad1:bl1:ci-5eeee"]),
    ("metainfo", metainfo, &[TORRENT, SINGLE]),
    ("wire frame", wire_frame, &[
        &[4, 0, 0, 1, 0],
        &[5, 0xff, 0x80],
        &[6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
        &[7, 0, 0, 0, 1, 0, 0, 0x40, 0, 1, 2, 3],
        &[16, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
        b"\x14\x00d1:md11:ut_metadatai2ee1:pi6881e4:reqqi250e1:v9:aria2/1.3e",
    ]),
    ("wire handshake", wire_handshake, &[
        b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04aaaaaaaaaaaaaaaaaaaa-mb0010-abcdefghijkl",
    ]),
    ("extended handshake", extended_handshake, &[
        b"d1:md9:mb_ticketi1ee1:pi7600e4:reqqi2000e1:v20:Mini BitTorrent 0.1.0e",
        b"d1:md11:ut_metadatai2ee1:pi6881e4:reqqi250e1:v9:aria2/1.3e",
    ]),
    ("sealed messages", sealed, &[
        b"\0\x120123456789abcdefgh",
        b"\0\x120123456789abcdefgh\0\x11",
        b"\xff\xff0123456789abcdef",
    ]),
    ("control request", control_request, &[
        HASH,
        b"list_files public\n",
        b"list_peers public x\n",
        b"download_file public \"a \"\"b\"\"\"\n",
        b"upload_file public x 9 0123456789abcdef0123456789abcdef01234567 -mb0010-abcdefghijkl 7600 +3\nabc",
    ]),
    ("one-line request", one_line_request, &[
        b"announce my file.txt:6881\r",
        b"getpeers \"a \"\"b\"\"\"",
        b"REGISTER \"my file.txt\" 6881",
        b"GETPEERS a:b",
    ]),
    ("control reply", control_reply, &[
        b"OK 120 1 2 +30\n127.0.0.1:6881\n[::1]:6881\nx\n",
        b"ERR denied you may not\n",
        b"OK +70\nx 9 0123456789abcdef0123456789abcdef01234567 1 2\n",
    ]),
    ("control request of groups", control_request, &[
        b"login Bob \"a secret\" 0909090909090909090909090909090909090909090909090909090909090909\n",
        b"passwd old \"+5\"\n",
        b"resume 0123abcdef\n",
        b"accept_request CS101 bob\n",
        b"subscribe 190abcd0001-2\n",
        b"ask \"a: b\" -mb0010-abcdefghijkl\n",
        b"knock 7600 0123456789abcdef0123456789abcdef01234567\n",
        b"knocked 00000000000000ff unreachable\n",
        b"hashing 00000000000000ff 5 -mb0010-abcdefghijkl 7600\n",
        b"announce 0123456789abcdef0123456789abcdef01234567 -mb0010-abcdefghijkl 7600 1 2 3 completed 50 cs101\n",
    ]),
    ("facts of another tracker", batch, &[BATCH]),
    ("between trackers", sync_message, &[
        b"sync 2 2 1 0123456789abcdef 0909090909090909090909090909090909090909090909090909090909090909\n",
        b"swarms +101\npublic 0123456789abcdef0123456789abcdef01234567 -mb0010-abcdefghijkl 127.0.0.1:7600 0 completed 3\n",
        b"shares +46\nll1:x20:aaaaaaaaaaaaaaaaaaaai5ei1e8:d1:ai1ee\nee",
        b"beat 3 0123456789abcdef\n",
        b"OK 0909090909090909090909090909090909090909090909090909090909090909 190abcd0001-2 5-1\n",
    ]),
    ("control reply of groups", control_reply, &[
        b"OK Bob 0123 0909090909090909090909090909090909090909090909090909090909090909 1800000000\n",
        b"OK 2 +35\ncs101 alice 2 owner\nbio bob 1 none\n",
        b"OK 2 +10\nalice\nbob\n",
        b"OK 1800000000 +3\nabc",
        b"OK 127.0.0.1:7600 silent 3 +27\nconnected near\nrefused far\n",
    ]),
    ("news", news_line, &[
        b"NEWS 190abcd0001-2 shares cs101 \"a file\" 5 bob\n",
        b"NEWS 1-1 asks cs101 bob\n",
        b"KNOCK 00000000000000ff [::1]:7600 0123456789abcdef0123456789abcdef01234567\n",
        b"PING\n",
    ]),
    ("names, stamps and keys", names, &[
        b"190abcd0001-2", b"CS101", b"a file",
        b"0909090909090909090909090909090909090909090909090909090909090909",
    ]),
    ("ticket", ticket, &[SIGNED, TICKET]),
    ("token", token, &[SIGNED]),
    ("HTTP request", http_request, &[
        b"GET /announce?info_hash=%01%02aaaaaaaaaaaaaaaaaa&peer_id=-mb0010-abcdefghijkl&port=6881&left=0&compact=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa&info_hash=bbbbbbbbbbbbbbbbbbbb HTTP/1.0\r\n\r\n",
    ]),
    ("HTTP answer", http_answer, &[
        b"d8:completei1e10:incompletei2e8:intervali120e5:peers6:\x7f\0\0\x01\x1a\xe16:peers618:aaaaaaaaaaaaaaaabbe",
        b"d8:intervali1e5:peersld2:ip9:127.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eeee",
        b"d14:failure reason2:noe",
        b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e10:incompletei3eeee",
    ]),
    ("tracker_info", tracker_info_text, &[
        b"# c\n127.0.0.1:6000 key\n[::1]:7\n1.2.3.4 5\n",
        b"a:1 00000000000000000000000000000000ffffffffffffffffffffffffffffffff\n",
    ]),
    ("certificate", certificate, &[CERTIFICATE]),
    ("key file", key_file, &[
        b"# c\n\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
    ]),
    ("resume record", resume_record, &[
        b"d5:addedi1e5:cleani1e10:downloadedi0e5:filesle8:finishedi0e4:have1:\x80",
    ]),
];

fn bencode(bytes: &[u8]) {
    fn walk(value: Value<'_>) -> usize {
        let list = value.list().into_iter().flatten().map(walk).sum::<usize>();
        let dict = value
            .dict()
            .into_iter()
            .flatten()
            .map(|(_, value)| walk(value))
            .sum::<usize>();
        1 + list + dict + usize::from(value.int().is_some()) + value.bytes().map_or(0, <[u8]>::len)
    }
    if let Ok((value, _)) = Value::parse_prefix(bytes) {
        walk(value);
    }
}

fn metainfo(bytes: &[u8]) {
    if let Ok(metainfo) = Metainfo::parse(bytes) {
        assert_eq!(
            Metainfo::parse(&metainfo.to_bytes()).as_ref(),
            Ok(&metainfo)
        );
    }
}

fn wire_frame(bytes: &[u8]) {
    if let Some(length) = bytes.first_chunk() {
        let _ = codec::frame_length(*length);
    }
    if let Ok(message) = codec::decode(bytes) {
        codec::encode(&message, &mut Vec::new());
    }
}

fn wire_handshake(bytes: &[u8]) {
    if let Some(bytes) = bytes.first_chunk::<HANDSHAKE_LENGTH>() {
        let _ = Handshake::decode(bytes);
    }
}

fn extended_handshake(bytes: &[u8]) {
    let _ = ExtendedHandshake::decode(bytes);
}

/// What a peer has agreed on with another one.
static AGREED: LazyLock<Agreed> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut far = listener.accept().unwrap().0;
    let keys = KeyPair::generate().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| noise::call(&mut near, &keys, b"").unwrap());
        noise::answer(&mut far, &keys).unwrap().0
    })
});

/// Nobody can seal a message for it, so what is tried are lengths and ends.
fn sealed(bytes: &[u8]) {
    let mut heard = Vec::new();
    let end = AGREED.reader(bytes).read_to_end(&mut heard);
    assert!(heard.is_empty() && (end.is_err() || bytes.is_empty()));
}

fn control_request(bytes: &[u8]) {
    if let Ok(Some(frame)) = read_frame(&mut BufReader::new(bytes)) {
        let _ = Request::parse(&frame);
    }
}

fn one_line_request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for letters in [Letters::Small, Letters::Capital] {
        if let Some(Ok(request)) = classic::Request::parse(letters, &text) {
            let line = request.encode(letters);
            let again = classic::Request::parse(letters, line.trim_end_matches('\n'));
            assert_eq!(again, Some(Ok(request)));
        }
    }
}

fn batch(bytes: &[u8]) {
    if let Ok(batch) = Batch::decode(bytes) {
        assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    }
}

fn sync_message(bytes: &[u8]) {
    let Ok(Some(frame)) = read_frame(&mut BufReader::new(bytes)) else {
        return;
    };
    let _ = Hello::parse(&frame);
    let _ = Reply::parse(frame.clone()).map(Welcome::from_reply);
    let _ = Reply::parse(frame.clone()).map(Standing::from_reply);
    if let Ok(message) = SyncMessage::parse(frame) {
        assert_eq!(SyncMessage::parse(message.to_frame()), Ok(message));
    }
}

fn control_reply(bytes: &[u8]) {
    let parse = || Reply::parse(read_frame(&mut BufReader::new(bytes)).ok()??).ok();
    if let Some(reply) = parse() {
        let _ = announce_from_reply(reply);
    }
    let _ = parse().map(FileEntry::list_from_reply);
    let _ = parse().map(Download::from_reply);
    let _ = parse().map(LoggedIn::from_reply);
    let _ = parse().map(IssuedTicket::from_reply);
    let _ = parse().map(GroupEntry::list_from_reply);
    let _ = parse().map(users_from_reply);
    let _ = parse().map(Knocks::from_reply);
}

fn news_line(bytes: &[u8]) {
    if let Ok(Some(frame)) = read_frame(&mut BufReader::new(bytes)) {
        let _ = NewsLine::parse(&frame);
    }
}

fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<Stamp>();
    let _ = text.parse::<GroupId>();
    let _ = text.parse::<GroupName>();
    let _ = text.parse::<UserName>();
    let _ = text.parse::<FileName>();
    let _ = text.parse::<Password>();
    let _ = text.parse::<TrackerKey>();
    let _ = text.parse::<PeerKey>();
}

/// The bytes as they came, and once more with a right signature: what is behind the signature is
/// written by a tracker, and trackers may go wrong.
fn ticket(bytes: &[u8]) {
    if let Ok(ticket) = SignedTicket::parse(bytes) {
        assert_eq!(ticket.as_bytes(), bytes);
    }
    let _ = SignedTicket::parse(&signed(b"mini-bittorrent ticket 1\0", bytes));
}

fn token(bytes: &[u8]) {
    let _ = Token::parse(&String::from_utf8_lossy(bytes));
    let bytes = signed(b"mini-bittorrent session 1\0", bytes);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let _ = Token::parse(&text);
}

fn signed(purpose: &[u8], body: &[u8]) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let signature = key.sign(&[purpose, body].concat()).to_bytes();
    [&key.verifying_key().to_bytes()[..], &signature, body].concat()
}

fn http_request(bytes: &[u8]) {
    if let Ok(Some(head)) = Head::parse(bytes) {
        let _ = AnnounceRequest::from_query(head.query);
        let _ = ScrapeRequest::from_query(head.query);
    }
}

fn http_answer(bytes: &[u8]) {
    let _ = AnnounceResponse::decode(bytes);
    let _ = ScrapeResponse::decode(bytes);
}

fn tracker_info_text(bytes: &[u8]) {
    let lossy = |_| String::from_utf8_lossy(bytes).into_owned();
    let _ = tracker_info::parse(&text::decode(bytes).unwrap_or_else(lossy));
}

fn certificate(bytes: &[u8]) {
    let _ = shown_key(bytes);
}

fn key_file(bytes: &[u8]) {
    let _ = Identity::parse(bytes);
}

fn resume_record(bytes: &[u8]) {
    let _ = Record::decode(bytes);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// The next input: a sample with some damage, or bytes at random.
fn input(rng: &mut StdRng, samples: &[&[u8]], bytes: &mut Vec<u8>) {
    bytes.clear();
    if rng.random_ratio(1, 16) {
        let length = rng.random_range(0..256);
        bytes.resize(length, 0);
        rng.fill_bytes(bytes);
        return;
    }
    bytes.extend_from_slice(samples[rng.random_range(0..samples.len())]);
    for _ in 0..rng.random_range(0..5) {
        damage(rng, samples, bytes);
    }
    bytes.truncate(LONGEST);
}

fn damage(rng: &mut StdRng, samples: &[&[u8]], bytes: &mut Vec<u8>) {
    let at = rng.random_range(0..=bytes.len());
    let end = rng.random_range(at..=bytes.len());
    match rng.random_range(0..7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.insert(at, rng.random()),
        3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        // Numbers are where decoders trust too much.
        4 => {
            let number: &[u8] = [
                &b"99999999999999999999"[..],
                b"9223372036854775807",
                b"-1",
                b"4294967296",
                b"1000000000:",
                b"0",
            ][rng.random_range(0..6)];
            bytes.splice(at..end.min(at + 4), number.iter().copied());
        }
        5 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let other = samples[rng.random_range(0..samples.len())];
            let from = rng.random_range(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
    }
}

/// The most memory that this process ever had, in kB. Linux only.
fn peak_memory_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn decoders_survive_anything() {
    let inputs = setting("MINI_FUZZ_INPUTS", 20_000);
    let seed = setting("MINI_FUZZ_SEED", rand::rng().random());
    println!(
        "MINI_FUZZ_SEED={seed}, {inputs} inputs for each of {} decoders",
        DECODERS.len()
    );
    let before = peak_memory_kb();
    for (name, decode, samples) in DECODERS {
        // The samples themselves first: a decoder that refuses everything proves nothing.
        samples.iter().for_each(|sample| decode(sample));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = Vec::new();
        let start = Instant::now();
        for i in 0..inputs {
            input(&mut rng, samples, &mut bytes);
            let began = Instant::now();
            decode(&bytes);
            let took = began.elapsed();
            assert!(
                took < TIME,
                "{name}: input {i} of seed {seed} took {took:?}: {bytes:?}"
            );
        }
        println!(
            "{name}: {inputs} inputs in {:?}, peak memory {:?} kB",
            start.elapsed(),
            peak_memory_kb()
        );
    }
    if let (Some(before), Some(after)) = (before, peak_memory_kb()) {
        println!("peak memory: {before} kB before, {after} kB after");
        assert!(
            after - before < MEMORY_KB,
            "the decoders took {} kB",
            after - before
        );
    }
}

#[test]
fn the_samples_are_valid() {
    let ticket = SignedTicket::parse(&signed(b"mini-bittorrent ticket 1\0", SIGNED));
    assert!(ticket.is_ok(), "{ticket:?}");
    let token = signed(b"mini-bittorrent session 1\0", SIGNED);
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(Token::parse(&token).is_ok());
    let key = Identity::parse(&b"01".repeat(32)).unwrap().key();
    assert_eq!(shown_key(CERTIFICATE), Ok(Some(key.0)));
    assert!(Metainfo::parse(TORRENT).is_ok() && Metainfo::parse(SINGLE).is_ok());
    assert!(SignedTicket::parse(TICKET).is_ok());
    let batch = Batch::decode(BATCH).unwrap();
    assert_eq!((batch.entries.len(), batch.answered.len()), (4, 1));
    let frame = read_frame(&mut BufReader::new(HASH)).unwrap().unwrap();
    assert!(
        Request::parse(&frame).is_ok(),
        "{:?}",
        Request::parse(&frame)
    );
}
