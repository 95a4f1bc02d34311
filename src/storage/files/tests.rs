use std::io::Write as _;

use super::*;

struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn download(&self, layout: &Arc<Layout>) -> Result<FileStorage, StorageError> {
        let target = self.path(layout.name());
        FileStorage::download(&target, layout.clone(), Arc::default())
    }

    fn existing(&self, layout: &Arc<Layout>) -> Result<FileStorage, StorageError> {
        let target = self.path(layout.name());
        FileStorage::existing(&target, layout.clone(), Arc::default())
    }
}

fn single(name: &str, length: u64) -> Arc<Layout> {
    Arc::new(Layout::single(name.into(), length, 16384).unwrap())
}

fn folder(name: &str, files: &[(&str, u64)]) -> Arc<Layout> {
    let file =
        |(path, length): &(&str, u64)| (path.split('/').map(String::from).collect(), *length);
    let files = files.iter().map(file).collect();
    Arc::new(Layout::folder(name.into(), files, 16384).unwrap())
}

fn read(storage: &FileStorage, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
    let mut buffer = vec![0; length];
    storage.read(offset, &mut buffer).map(|()| buffer)
}

#[track_caller]
fn refused<T>(result: Result<T, StorageError>, expect: &str) {
    let text = match result {
        Ok(_) => "no error".into(),
        Err(error) => format!("{error:?} {error}"),
    };
    assert!(text.contains(expect), "expected {expect}, got {text}");
}

#[test]
fn a_folder_is_written_across_files_and_renamed_when_complete() {
    let it = Scratch::new();
    let layout = folder("t", &[("a", 3), ("d/empty", 0), ("d/e/b", 5)]);
    let storage = it.download(&layout).unwrap();
    storage.write(1, b"bcdef").unwrap();
    storage.write(0, b"a").unwrap();
    storage.write(6, b"gh").unwrap();
    assert_eq!(read(&storage, 2, 4).unwrap(), b"cdef");
    assert!(!it.path("t").exists() && it.path("t.part/d/empty").exists());
    storage.finish().unwrap();
    storage.finish().unwrap();
    assert!(storage.is_finished() && !it.path("t.part").exists());
    assert_eq!(fs::read(it.path("t/d/e/b")).unwrap(), b"defgh");
    assert_eq!(fs::read(it.path("t/d/empty")).unwrap(), b"");
    assert_eq!(read(&storage, 0, 8).unwrap(), b"abcdefgh");
    refused(storage.write(0, b"x"), "ReadOnly");
    refused(read(&storage, 5, 4), "OutOfRange");
}

#[test]
fn a_begun_download_goes_on_where_it_was() {
    let it = Scratch::new();
    let layout = single("a", 100_000);
    it.download(&layout)
        .unwrap()
        .write(50_000, b"here")
        .unwrap();
    let storage = it.download(&layout).unwrap();
    assert_eq!(read(&storage, 50_000, 4).unwrap(), b"here");
    let before = storage.stamps().unwrap();
    assert_eq!(it.download(&layout).unwrap().stamps().unwrap(), before);
}

#[test]
fn an_empty_torrent_and_an_empty_file_can_be_complete() {
    let it = Scratch::new();
    for layout in [single("a", 0), folder("f", &[("x", 0)])] {
        let storage = it.download(&layout).unwrap();
        storage.finish().unwrap();
        storage.verify_unchanged().unwrap();
    }
    assert_eq!(fs::metadata(it.path("f/x")).unwrap().len(), 0);
}

#[test]
fn too_little_room_is_said_before_anything_is_created() {
    let it = Scratch::new();
    // 32 TiB: as large as a layout can be.
    let huge = Arc::new(Layout::single("a".into(), 1 << 45, 1 << 26).unwrap());
    refused(it.download(&huge), "NoSpace");
    assert_eq!(fs::read_dir(it.folder.path()).unwrap().count(), 0);
}

#[test]
fn sparse_files_need_their_space_until_they_are_written() {
    let it = Scratch::new();
    let layout = single("a", 8 << 20);
    let storage = it.download(&layout).unwrap();
    let needed = storage.needed_space().unwrap();
    storage.write(0, &vec![7; 4 << 20]).unwrap();
    storage.sync().unwrap();
    assert!(storage.needed_space().unwrap() <= 4 << 20);
    if cfg!(target_os = "linux") {
        assert_eq!(needed, 8 << 20);
    }
}

#[test]
fn what_lies_at_the_place_is_not_overwritten() {
    let it = Scratch::new();
    let layout = single("a", 4);
    fs::write(it.path("a"), "mine").unwrap();
    refused(it.download(&layout), "Occupied");
    fs::remove_file(it.path("a")).unwrap();
    let storage = it.download(&layout).unwrap();
    fs::write(it.path("a"), "late").unwrap();
    refused(storage.finish(), "Occupied");
    assert_eq!(fs::read(it.path("a")).unwrap(), b"late");
    // Out of the way again, it can be finished after all.
    fs::remove_file(it.path("a")).unwrap();
    storage.write(0, b"done").unwrap();
    storage.finish().unwrap();
    assert_eq!(fs::read(it.path("a")).unwrap(), b"done");
    fs::create_dir(it.path("b.part")).unwrap();
    refused(it.download(&single("b", 1)), "Occupied");
}

/// A network drive, say, for which `A` is `a`: one file got the bytes of both.
#[test]
fn a_disk_that_takes_two_names_for_one_is_refused() {
    let it = Scratch::new();
    let layout = folder("t", &[("d/A", 3), ("d/a", 3)]);
    let same = ["d/a", "d/a"].map(PathBuf::from).to_vec();
    let on_that_disk = |layout: &Arc<Layout>| {
        let names = SafePaths::remembered(layout, Platform::here(), same.clone()).unwrap();
        FileStorage::begun(&it.path("t"), layout.clone(), names, Arc::default())
    };
    for _ in 0..2 {
        refused(
            on_that_disk(&layout),
            "takes it for another file of the torrent",
        );
        assert_eq!(fs::read_dir(it.folder.path()).unwrap().count(), 0);
    }
}

/// What could not be looked at for a moment was taken for new, and then removed as our own.
#[test]
fn a_folder_is_new_only_to_who_has_made_it() {
    let it = Scratch::new();
    let layout = folder("t", &[("a", 3)]);
    let names = SafePaths::new(&layout, Platform::here()).unwrap();
    let storage = FileStorage::unopened(&it.path("t"), layout, names, Arc::default()).unwrap();
    let root = it.path("t.part");
    assert!(storage.make_root(&root).unwrap());
    fs::write(root.join("a"), "abc").unwrap();
    assert!(!storage.make_root(&root).unwrap());
    assert_eq!(fs::read(root.join("a")).unwrap(), b"abc");
}

/// A sync that could not open a file said that all was well when it was asked again.
#[test]
fn what_could_not_be_synced_is_not_forgotten() {
    let it = Scratch::new();
    let layout = folder("t", &[("a", 3)]);
    let storage = it.download(&layout).unwrap();
    storage.write(0, b"abc").unwrap();
    storage.open.close(storage.place().owner);
    fs::rename(it.path("t.part/a"), it.path("away")).unwrap();
    for _ in 0..2 {
        refused(storage.sync(), "Missing");
    }
    fs::rename(it.path("away"), it.path("t.part/a")).unwrap();
    storage.sync().unwrap();
}

/// What a download is called is remembered, whatever the rules say by then.
#[test]
fn remembered_names_are_opened_again() {
    let it = Scratch::new();
    let layout = folder("t", &[("a", 3), ("b", 3)]);
    let names = || {
        let names = vec!["x (2)".into(), "d/y".into()];
        SafePaths::remembered(&layout, Platform::here(), names).unwrap()
    };
    let target = it.path("t");
    let begun = || FileStorage::begun(&target, layout.clone(), names(), Arc::default()).unwrap();
    begun().write(0, b"abcdef").unwrap();
    let storage = begun();
    assert_eq!(read(&storage, 2, 2).unwrap(), b"cd");
    storage.finish().unwrap();
    assert_eq!(fs::read(it.path("t/d/y")).unwrap(), b"def");
    let again = FileStorage::existing_as(&target, layout.clone(), names(), Arc::default());
    assert_eq!(read(&again.unwrap(), 0, 6).unwrap(), b"abcdef");
}

#[test]
fn content_that_is_not_as_described_is_not_opened() {
    let it = Scratch::new();
    refused(it.existing(&single("a", 4)), "Missing");
    fs::write(it.path("a"), "12345").unwrap();
    refused(it.existing(&single("a", 4)), "it has 5 bytes, 4 are right");
    // Windows does not tell the two apart.
    let below_a_file = if cfg!(windows) {
        "Missing"
    } else {
        "NotADirectory"
    };
    refused(it.existing(&folder("a", &[("x", 1)])), below_a_file);
    fs::create_dir(it.path("b")).unwrap();
    refused(it.existing(&single("b", 4)), "Occupied");
}

#[test]
fn a_changed_file_is_not_served() {
    let it = Scratch::new();
    fs::write(it.path("a"), "1234").unwrap();
    let storage = it.existing(&single("a", 4)).unwrap();
    assert_eq!(read(&storage, 0, 4).unwrap(), b"1234");
    // Within the second, through the same file, same length: the time of modification tells.
    std::thread::sleep(Duration::from_millis(20)); // coarser than the clock of file systems
    let mut file = OpenOptions::new().write(true).open(it.path("a")).unwrap();
    file.write_all(b"12X4").unwrap();
    refused(read(&storage, 0, 4), "somebody wrote to it");
    refused(storage.verify_unchanged(), "Changed");
    file.set_len(2).unwrap();
    refused(read(&storage, 0, 4), "Changed");
}

#[test]
fn a_vanished_or_replaced_file_is_not_served() {
    let it = Scratch::new();
    fs::write(it.path("a"), "1234").unwrap();
    let storage = it.existing(&single("a", 4)).unwrap();
    assert_eq!(read(&storage, 0, 4).unwrap(), b"1234");
    fs::remove_file(it.path("a")).unwrap();
    if cfg!(windows) {
        // Some disks keep the name until nobody has it open.
        storage.open.close_unused();
        storage.open.close_unused();
    }
    refused(read(&storage, 0, 4), "Missing");
    fs::write(it.path("b"), "12345").unwrap();
    let storage = it.existing(&single("b", 5)).unwrap();
    assert_eq!(read(&storage, 0, 5).unwrap(), b"12345");
    fs::rename(it.path("b"), it.path("c")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while read(&storage, 0, 5).is_ok() {
        assert!(Instant::now() < deadline, "a moved file is still served");
        std::thread::sleep(Duration::from_millis(50));
    }
    refused(read(&storage, 0, 5), "Missing");
    fs::rename(it.path("c"), it.path("b")).unwrap();
    assert_eq!(read(&storage, 0, 5).unwrap(), b"12345");
}

#[cfg(unix)]
#[test]
fn links_that_lead_outside_are_refused() {
    use std::os::unix::fs::symlink;
    let it = Scratch::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), "1").unwrap();
    let layout = folder("t", &[("d/x", 1), ("y", 1)]);

    // A folder of the download is a link.
    fs::create_dir(it.path("t.part")).unwrap();
    symlink(outside.path(), it.path("t.part/d")).unwrap();
    refused(it.download(&layout), "Outside");
    fs::remove_file(it.path("t.part/d")).unwrap();
    // A file of it is.
    symlink(outside.path().join("x"), it.path("t.part/y")).unwrap();
    refused(it.download(&layout), "Occupied");
    fs::remove_file(it.path("t.part/y")).unwrap();
    // It becomes one while the download runs.
    let storage = it.download(&layout).unwrap();
    fs::remove_file(it.path("t.part/y")).unwrap();
    symlink(outside.path().join("x"), it.path("t.part/y")).unwrap();
    refused(storage.write(1, b"!"), "Outside");
    // The whole of it is.
    symlink(outside.path(), it.path("u.part")).unwrap();
    refused(it.download(&folder("u", &[("x", 1)])), "Occupied");
    symlink(outside.path().join("x"), it.path("v.part")).unwrap();
    refused(it.download(&single("v", 1)), "Occupied");
    // Nor is one served.
    fs::create_dir(it.path("w")).unwrap();
    symlink(outside.path().join("x"), it.path("w/x")).unwrap();
    let storage = it.existing(&folder("w", &[("x", 1)])).unwrap();
    refused(read(&storage, 0, 1), "Outside");
    assert_eq!(fs::read(outside.path().join("x")).unwrap(), b"1");
}

#[test]
fn ten_thousand_files_need_few_handles() {
    let it = Scratch::new();
    let names: Vec<String> = (0..10_000).map(|i| format!("{}/{i}", i / 1000)).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 3)).collect();
    let layout = folder("many", &files);
    let open = Arc::new(OpenFiles::new(16));
    let storage = FileStorage::download(&it.path("many"), layout.clone(), open.clone()).unwrap();
    let bytes: Vec<u8> = (0..layout.total()).map(|i| i as u8).collect();
    for (i, piece) in bytes.chunks(16384).enumerate() {
        storage.write(i as u64 * 16384, piece).unwrap();
        assert!(open.count() <= 16);
    }
    assert!(read(&storage, 0, bytes.len()).unwrap() == bytes);
    assert!(open.count() <= 16);
}

#[test]
fn many_threads_read_and_write_while_it_is_finished() {
    let it = Scratch::new();
    let layout = folder("t", &[("a", 100_000), ("b", 150_001), ("c", 49_999)]);
    let open = Arc::new(OpenFiles::new(2));
    let storage = FileStorage::download(&it.path("t"), layout.clone(), open).unwrap();
    let byte = |at: u64| (at % 251) as u8;
    let parts: Vec<u64> = (0..layout.total()).step_by(10_000).collect();
    let written = AtomicUsize::new(0);
    let (storage, parts, written) = (&storage, &parts, &written);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for at in parts.iter().skip(thread).step_by(8) {
                    let bytes: Vec<u8> = (*at..*at + 10_000).map(byte).collect();
                    storage.write(*at, &bytes).unwrap();
                    assert!(read(storage, *at, 10_000).unwrap() == bytes);
                }
                written.fetch_add(1, Ordering::SeqCst);
                // Readers go on while the folder is renamed.
                let deadline = Instant::now() + Duration::from_secs(30);
                while !storage.is_finished() {
                    assert!(Instant::now() < deadline, "never finished");
                    if written.load(Ordering::SeqCst) == 8 {
                        let got = read(storage, 95_000, 10_000).unwrap();
                        assert!(got.iter().zip(95_000..).all(|(got, at)| *got == byte(at)));
                    }
                }
            });
        }
        scope.spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(30);
            while written.load(Ordering::SeqCst) < 8 {
                assert!(Instant::now() < deadline, "never written");
                std::thread::yield_now();
            }
            storage.finish().unwrap();
        });
    });
    let all = read(storage, 0, layout.total() as usize).unwrap();
    assert!(all.iter().zip(0..).all(|(got, at)| *got == byte(at)));
}

/// Names the folder, a small disk, to the test below in its own process.
#[cfg(target_os = "linux")]
const SMALL_DISK_AT: &str = "MINI_BITTORRENT_TEST_SMALL_DISK";

/// A disk that is full for real: a RAM disk that only the second process sees, so that nothing
/// is left whatever happens.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_room_is_used_again() {
    const CANNOT_MOUNT: i32 = 77;
    let it = Scratch::new();
    let mount =
        format!("mount -t tmpfs -o size=1m tmpfs \"$0\" || exit {CANNOT_MOUNT}; exec \"$@\"");
    let test = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &mount])
        .arg(it.folder.path())
        .arg(std::env::current_exe().unwrap())
        .args([
            "storage::files::tests::on_a_disk_of_one_mebibyte",
            "--exact",
        ])
        .env(SMALL_DISK_AT, it.folder.path())
        .output();
    match test {
        Ok(test) if test.status.success() => {
            let told = String::from_utf8_lossy(&test.stdout);
            assert!(told.contains("1 passed"), "{told}");
        }
        Ok(test) if test.stdout.is_empty() => {
            let skipped = b"SKIPPED: a full disk, nobody but root can mount one\n";
            std::io::stderr().write_all(skipped).unwrap();
        }
        Ok(test) => panic!("{}", String::from_utf8_lossy(&test.stdout)),
        Err(_) => {
            let skipped = b"SKIPPED: a full disk, there is no `unshare`\n";
            std::io::stderr().write_all(skipped).unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_disk_of_one_mebibyte() {
    use crate::storage::folder::DownloadFolder;
    use crate::storage::resume;

    const KIB: usize = 1024;
    let Some(disk) = std::env::var_os(SMALL_DISK_AT) else {
        return;
    };
    let disk = PathBuf::from(disk);
    let open = |layout: &Arc<Layout>| {
        FileStorage::download(&disk.join(layout.name()), layout.clone(), Arc::default())
    };
    refused(
        open(&single("large", 4096 * KIB as u64)),
        "make room for 3.0 MiB more",
    );
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);

    let folder = DownloadFolder::open(&disk).unwrap();
    let record = resume::tests::example();
    folder.remember(&record).unwrap();

    let layout = single("a", 800 * KIB as u64);
    let storage = open(&layout).unwrap();
    let filler = disk.join("filler");
    let fill = fs::write(&filler, vec![1; 2048 * KIB]);
    assert_eq!(fill.unwrap_err().kind(), io::ErrorKind::StorageFull);
    let piece = |nth: usize| vec![nth as u8 + 1; 16 * KIB];
    let write = |nth: usize| storage.write((nth * 16 * KIB) as u64, &piece(nth));
    refused(write(0), "NoSpace");
    assert!(write(1).unwrap_err().is_no_space());
    assert!(storage.needed_space().unwrap() > storage.free_space().unwrap());
    // What is remembered stays, though nothing new can be.
    let full = resume::Record {
        uploaded: 9,
        ..record.clone()
    };
    assert!(folder.remember(&full).is_err());
    assert_eq!(folder.remembered().unwrap().records.len(), 1);

    fs::remove_file(&filler).unwrap();
    assert!(storage.needed_space().unwrap() <= storage.free_space().unwrap());
    for nth in 0..50 {
        write(nth).unwrap();
    }
    storage.finish().unwrap();
    folder.remember(&full).unwrap();
    let expect: Vec<u8> = (0..50).flat_map(piece).collect();
    assert!(fs::read(disk.join("a")).unwrap() == expect);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_file_is_followed() {
    let it = Scratch::new();
    let layout = Arc::new(Layout::single("a".into(), 6, 16384).unwrap());
    fs::write(it.path("a"), "public").unwrap();
    fs::write(it.path("secret"), "secret").unwrap();
    // As nobody can tell them apart.
    let time = fs::metadata(it.path("a")).unwrap().modified().unwrap();
    let secret = OpenOptions::new().write(true).open(it.path("secret"));
    secret.unwrap().set_modified(time).unwrap();
    let plain = it.existing(&layout).unwrap();
    assert!(plain.is_plain_file());
    fs::remove_file(it.path("a")).unwrap();
    std::os::unix::fs::symlink(it.path("secret"), it.path("a")).unwrap();
    assert!(plain.read(0, &mut [0; 6]).is_err());
    // Who shares the link by its name means what it leads to.
    let named = it.existing(&layout).unwrap();
    assert!(!named.is_plain_file());
    let mut got = [0; 6];
    named.read(0, &mut got).unwrap();
    assert_eq!(&got, b"secret");
}
