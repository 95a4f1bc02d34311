//! A way to another network that takes its time and loses packets, as `tc netem` would make one.
//!
//! Two TUN devices, one of them in a network of its own, and threads that carry packets between
//! them. Not `netem`, because many kernels are without it.

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tappers::{Interface, Tun};

use super::network::{self, FAR, NEAR};

/// Packets that are under way at once, in one direction; more are lost.
const UNDER_WAY: usize = 10_000;
/// Bytes.
const LARGEST: usize = 1500;

/// While it lives, the addresses of [`FAR`] can be reached from [`NEAR`].
pub struct LongWay {
    /// Its network is the far one.
    holder: Child,
}

impl LongWay {
    /// `delay` in each direction; of so many packets one is lost.
    pub fn open(delay: Duration, lost: u32) -> Result<LongWay, String> {
        let told = |error: io::Error| format!("no way to a far network: {error}");
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .map_err(told)?;
        let way = LongWay { holder };
        let open = |name: &str| Tun::new_named(Interface::new(name)?);
        let near = Arc::new(open("near0").map_err(told)?);
        let far = Arc::new(open("far0").map_err(told)?);
        network::ip(&format!("addr add {NEAR}/32 dev near0"))?;
        network::ip("link set near0 up")?;
        network::ip(&format!("link set far0 netns {}", way.holder.id()))?;
        let far_ip = |words: &str| network::run(way.command("ip").args(words.split(' ')));
        far_ip("link set lo up")?;
        for address in FAR {
            network::ip(&format!("route add {address} dev near0"))
                .and_then(|()| far_ip(&format!("addr add {address}/32 dev far0")))?;
        }
        far_ip("link set far0 up")?;
        far_ip(&format!("route add {NEAR} dev far0 src {}", FAR[0]))?;
        carry(near.clone(), far.clone(), delay, lost, 1);
        carry(far, near, delay, lost, 2);
        Ok(way)
    }

    /// A program in the far network.
    pub fn command(&self, program: &str) -> Command {
        network::command_in(Some(self.network()), program)
    }

    pub fn network(&self) -> u32 {
        self.holder.id()
    }
}

impl Drop for LongWay {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Two threads that carry what goes one way. They end with the program: a device cannot be closed
/// under a reader.
fn carry(from: Arc<Tun>, to: Arc<Tun>, delay: Duration, lost: u32, seed: u64) {
    let (sender, receiver): (SyncSender<(Instant, Vec<u8>)>, Receiver<_>) = sync_channel(UNDER_WAY);
    std::thread::spawn(move || {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut packet = [0; LARGEST];
        while let Ok(length) = from.recv(&mut packet) {
            if rng.random_range(0..lost) > 0 {
                // Full: it is lost, as anywhere.
                let _ = sender.try_send((Instant::now() + delay, packet[..length].to_vec()));
            }
        }
    });
    std::thread::spawn(move || {
        for (due, packet) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // A device that goes down loses packets, too.
            let _ = to.send(&packet);
        }
    });
}
