//! "Who has a file of this name?": which questions are open, what peers have answered, and which
//! torrents were found so.
//!
//! Each peer is asked with a number of its own, so only who was asked can answer, and once. A
//! question is over when all have answered, or when the asker waits no longer. Not here: how long
//! that is, and how peers are told (`tracker::ask_door`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::control::question::{Answers, Content, MAX_CONTENTS, MAX_HOLDERS, QuestionNumber};
use crate::torrent::id::{InfoHash, PeerId};
use crate::torrent::metainfo::Metainfo;

use super::Seconds;
use super::allowance::{Allowance, Exhausted};

/// Questions that may be open at once: each goes to every peer.
const MAX_OPEN: usize = 64;
/// How many questions one address may begin in [`WINDOW`]. A classroom behind one router is one.
const MAX_BEGUN: u32 = 50;
/// In seconds.
const WINDOW: u32 = 10;
/// Bytes of info dictionaries that are kept because an answer named them.
const MAX_FOUND_BYTES: usize = 32 * 1024 * 1024;
/// For how long they are kept, in seconds: while somebody looks at a list and chooses.
const FOUND_LIFE: u32 = 600;

/// All that is asked just now, and what was found of late.
#[derive(Debug, Default)]
pub struct Questions {
    open: HashMap<QuestionId, Question>,
    next: u64,
    begun: Allowance<MAX_BEGUN, WINDOW>,
    /// The oldest first.
    found: VecDeque<(Seconds, Found)>,
    found_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionId(u64);

/// What one peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    Has {
        metainfo: &'a Metainfo,
        holder: SocketAddr,
    },
    /// It has it, and is still hashing.
    Hashing {
        size: u64,
        holder: SocketAddr,
    },
    HasNot,
}

/// A torrent that an answer named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub info_hash: InfoHash,
    pub size: u64,
    /// The info dictionary.
    pub info: Arc<[u8]>,
}

/// Why an answer is good for nothing. For the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for this answer: the question is over, was answered, or was never asked")]
pub struct Late;

/// Why nobody is asked. For the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    #[error("this tracker asks as many questions as it can ({MAX_OPEN}); try again in a moment")]
    Open,
    #[error("your address has asked {MAX_BEGUN} questions in {WINDOW} s: wait a little")]
    Begun,
}

#[derive(Debug)]
struct Question {
    /// The asker's own peer, which does not count.
    asker: Option<PeerId>,
    awaited: HashSet<QuestionNumber>,
    asked: u32,
    contents: Vec<Content>,
}

impl Questions {
    /// Opens a question to as many peers as there are numbers.
    pub fn open(
        &mut self,
        now: Seconds,
        from: IpAddr,
        asker: Option<PeerId>,
        numbers: impl Iterator<Item = QuestionNumber>,
    ) -> Result<QuestionId, TooMany> {
        if self.open.len() >= MAX_OPEN {
            return Err(TooMany::Open);
        }
        self.begun.take(now, from).map_err(|none| match none {
            Exhausted::UsedUp => TooMany::Begun,
            Exhausted::NoRoom => TooMany::Open,
        })?;
        let id = QuestionId(self.next);
        self.next += 1;
        let awaited: HashSet<QuestionNumber> = numbers.collect();
        let question = Question {
            asker,
            asked: awaited.len() as u32,
            awaited,
            contents: Vec::new(),
        };
        self.open.insert(id, question);
        Ok(id)
    }

    /// The peers with these numbers could not be told: they have gone.
    pub fn not_asked(&mut self, numbers: &[QuestionNumber]) {
        for question in self.open.values_mut() {
            for number in numbers {
                question.asked -= u32::from(question.awaited.remove(number));
            }
        }
    }

    /// Takes the answer of the peer that was asked with this number. A torrent that it names is
    /// kept for a while.
    pub fn answer(
        &mut self,
        now: Seconds,
        number: QuestionNumber,
        peer_id: PeerId,
        answer: Answer<'_>,
    ) -> Result<(), Late> {
        let mut open = self.open.values_mut();
        let question = open.find(|question| question.awaited.contains(&number));
        let question = question.ok_or(Late)?;
        question.awaited.remove(&number);
        if question.asker == Some(peer_id) {
            question.asked -= 1;
            return Ok(());
        }
        match answer {
            Answer::HasNot => {}
            Answer::Hashing { size, holder } => question.add(None, size, holder),
            Answer::Has { metainfo, holder } => {
                let size = metainfo.layout.total();
                question.add(Some(metainfo.info_hash), size, holder);
                self.keep(now, metainfo);
            }
        }
        Ok(())
    }

    /// Nobody is waited for any more.
    pub fn is_over(&self, id: QuestionId) -> bool {
        let question = self.open.get(&id);
        question.is_none_or(|question| question.awaited.is_empty())
    }

    /// Ends a question: what is known by now.
    pub fn close(&mut self, id: QuestionId) -> Answers {
        let Some(question) = self.open.remove(&id) else {
            return Answers::default();
        };
        let mut contents = question.contents;
        contents.sort_by_key(|content| {
            let holders = std::cmp::Reverse(content.holders.len());
            (content.info_hash.is_none(), holders, content.info_hash)
        });
        Answers {
            asked: question.asked,
            answered: question.asked - question.awaited.len() as u32,
            contents,
        }
    }

    /// Ends all of them: the tracker stops.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    fn keep(&mut self, now: Seconds, metainfo: &Metainfo) {
        let is_it = |(_, found): &(Seconds, Found)| found.info_hash == metainfo.info_hash;
        let place = self.found.iter().position(is_it);
        let found = match place.and_then(|place| self.found.remove(place)) {
            // Not copied again for each of its holders.
            Some((_, found)) => found,
            None => {
                self.found_bytes += metainfo.info_bytes().len();
                Found {
                    info_hash: metainfo.info_hash,
                    size: metainfo.layout.total(),
                    info: metainfo.info_bytes().into(),
                }
            }
        };
        self.found.push_back((now, found));
        self.forget(now);
    }

    pub fn found(&self, info_hash: &InfoHash) -> Option<&Found> {
        let mut found = self.found.iter().map(|(_, found)| found);
        found.find(|found| found.info_hash == *info_hash)
    }

    /// Forgets what was found long ago, or before too much else.
    pub fn forget(&mut self, now: Seconds) {
        while let Some((since, oldest)) = self.found.front()
            && (now.since(*since) >= FOUND_LIFE || self.found_bytes > MAX_FOUND_BYTES)
        {
            self.found_bytes -= oldest.info.len();
            self.found.pop_front();
        }
    }
}

impl Question {
    fn add(&mut self, info_hash: Option<InfoHash>, size: u64, holder: SocketAddr) {
        let same = |content: &Content| content.info_hash == info_hash && content.size == size;
        let place = self.contents.iter().position(same);
        let place = place.unwrap_or(self.contents.len());
        if place >= MAX_CONTENTS {
            return;
        }
        if place == self.contents.len() {
            self.contents.push(Content {
                info_hash,
                size,
                holders: Vec::new(),
            });
        }
        let content = &mut self.contents[place];
        if content.holders.len() < MAX_HOLDERS && !content.holders.contains(&holder) {
            content.holders.push(holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::id::PieceHash;
    use crate::torrent::layout::Layout;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn numbers(range: std::ops::Range<u64>) -> impl Iterator<Item = QuestionNumber> {
        range.map(QuestionNumber)
    }

    fn peer(number: u8) -> PeerId {
        PeerId([number; 20])
    }

    fn torrent(name: &str, pieces: u64) -> Metainfo {
        let layout = Layout::single(name.into(), pieces << 14, 1 << 14).unwrap();
        let hashes = vec![PieceHash([7; 20]); pieces as usize];
        Metainfo::build(layout, hashes, false)
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new(HERE, port)
    }

    fn has(metainfo: &Metainfo, port: u16) -> Answer<'_> {
        let holder = at(port);
        Answer::Has { metainfo, holder }
    }

    fn told(answers: &Answers) -> Vec<(Option<InfoHash>, Vec<u16>)> {
        let ports = |content: &Content| {
            let ports = content.holders.iter().map(SocketAddr::port).collect();
            (content.info_hash, ports)
        };
        answers.contents.iter().map(ports).collect()
    }

    #[test]
    fn answers_are_grouped_by_content_and_all_are_waited_for() {
        let mut all = Questions::default();
        let one = all.open(Seconds(0), HERE, None, numbers(0..6)).unwrap();
        let other = all.open(Seconds(0), HERE, None, numbers(6..7)).unwrap();
        let (a, b) = (torrent("a", 1), torrent("b", 1));
        let (size, holder) = (5, at(4));
        let mut answer = |number, answer: Answer<'_>| {
            assert!(!all.is_over(one));
            all.answer(Seconds(0), QuestionNumber(number), peer(1), answer)
        };
        answer(0, has(&a, 1)).unwrap();
        answer(1, Answer::Hashing { size, holder }).unwrap();
        answer(2, Answer::HasNot).unwrap();
        answer(3, has(&b, 2)).unwrap();
        answer(4, has(&b, 3)).unwrap();
        assert_eq!(answer(4, has(&b, 9)), Err(Late), "it has answered");
        assert_eq!(answer(9, has(&b, 9)), Err(Late), "nobody was asked so");
        answer(5, has(&b, 3)).unwrap();
        assert!(all.is_over(one) && !all.is_over(other));
        let answers = all.close(one);
        assert_eq!((answers.asked, answers.answered), (6, 6));
        let (a, b) = (Some(a.info_hash), Some(b.info_hash));
        let expect = [(b, vec![2, 3]), (a, vec![1]), (None, vec![4])];
        assert_eq!(told(&answers), expect);
        let answers = all.close(other);
        assert_eq!((answers.asked, answers.answered), (1, 0));
        let late = all.answer(Seconds(0), QuestionNumber(6), peer(1), Answer::HasNot);
        assert_eq!(late, Err(Late), "it is over");
    }

    #[test]
    fn the_asker_and_those_who_have_gone_do_not_count() {
        let mut all = Questions::default();
        let id = all.open(Seconds(0), HERE, Some(peer(7)), numbers(0..3));
        let id = id.unwrap();
        all.not_asked(&numbers(2..5).collect::<Vec<_>>());
        let (own, theirs) = (torrent("own", 1), torrent("theirs", 1));
        let mut answer = |number, who, answer: Answer<'_>| {
            all.answer(Seconds(0), QuestionNumber(number), peer(who), answer)
        };
        answer(0, 7, has(&own, 1)).unwrap();
        answer(1, 8, has(&theirs, 2)).unwrap();
        assert!(all.found(&own.info_hash).is_none());
        assert!(all.found(&theirs.info_hash).is_some());
        assert!(all.is_over(id));
        let answers = all.close(id);
        assert_eq!((answers.asked, answers.answered), (1, 1));
        assert_eq!(told(&answers), [(Some(theirs.info_hash), vec![2])]);
        let alone = all.open(Seconds(0), HERE, None, numbers(0..0)).unwrap();
        assert!(all.is_over(alone), "nobody is there to be asked");
    }

    #[test]
    fn questions_and_answers_are_bounded() {
        let mut all = Questions::default();
        let address = |i: u32| IpAddr::from(i.to_be_bytes());
        let open: Vec<_> = (0..MAX_OPEN as u32)
            .map(|i| {
                all.open(Seconds(0), address(i), None, numbers(0..0))
                    .unwrap()
            })
            .collect();
        let refused = all.open(Seconds(0), address(99), None, numbers(0..0));
        assert_eq!(refused, Err(TooMany::Open));
        open.into_iter().for_each(|id| drop(all.close(id)));
        for _ in 0..MAX_BEGUN {
            let id = all.open(Seconds(5), HERE, None, numbers(0..0)).unwrap();
            all.close(id);
        }
        let refused = all.open(Seconds(4 + WINDOW), HERE, None, numbers(0..0));
        assert_eq!(refused, Err(TooMany::Begun));
        let many = 3 * MAX_HOLDERS as u64;
        let id = all.open(Seconds(5 + WINDOW), HERE, None, numbers(0..many));
        let id = id.unwrap();
        let torrents: Vec<_> = (1..=30).map(|n| torrent(&n.to_string(), 1)).collect();
        for i in 0..many {
            let which = if i < many / 2 { 0 } else { i as usize % 30 };
            let answer = has(&torrents[which], 1 + i as u16);
            let taken = all.answer(Seconds(9), QuestionNumber(i), peer(1), answer);
            taken.unwrap();
        }
        let answers = all.close(id);
        assert_eq!(answers.contents.len(), MAX_CONTENTS);
        assert_eq!(answers.contents[0].holders.len(), MAX_HOLDERS);
        let id = all.open(Seconds(100), HERE, None, numbers(0..1)).unwrap();
        all.close_all();
        assert!(all.is_over(id));
    }

    #[test]
    fn what_was_found_is_kept_for_a_while() {
        let mut all = Questions::default();
        let (small, large) = (torrent("small", 1), torrent("large", 100_000));
        all.keep(Seconds(0), &small);
        all.keep(Seconds(9), &small);
        assert_eq!(all.found.len(), 1, "once");
        let found = all.found(&small.info_hash).unwrap();
        assert_eq!((found.size, &*found.info), (1 << 14, small.info_bytes()));
        all.forget(Seconds(8 + FOUND_LIFE));
        assert!(all.found(&small.info_hash).is_some());
        all.forget(Seconds(9 + FOUND_LIFE));
        assert!(all.found(&small.info_hash).is_none());
        for i in 0..20 {
            all.keep(Seconds(9), &torrent(&format!("large {i}"), 100_000));
            assert!(all.found_bytes <= MAX_FOUND_BYTES);
        }
        all.keep(Seconds(9), &large);
        assert!(all.found(&large.info_hash).is_some());
        let sum = all.found.iter().map(|(_, found)| found.info.len());
        assert_eq!(all.found_bytes, sum.sum::<usize>());
    }
}
