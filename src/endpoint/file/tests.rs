use super::*;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Both ends of a connection: a sink, and its reader.
fn sockets() -> [(FileSink, File); 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let unix = UnixStream::pair().unwrap();
    let pairs: [(OwnedFd, OwnedFd); 2] =
        [(tcp.into(), listener.accept().unwrap().0.into()), (unix.0.into(), unix.1.into())];
    pairs.map(|(sink, reader)| (FileSink::new(sink.into(), "the socket"), reader.into()))
}

/// Waits until the sink's socket knows that its reader is gone.
fn await_end(sink: &FileSink) {
    let [seen] = wait(&[Interest::end(sink.file.as_ref().unwrap())], Some(END_GRACE)).unwrap();
    assert!(seen.any());
}

#[test]
fn a_reader_that_throws_bytes_away_has_not_taken_them() {
    for (mut sink, mut reader) in sockets() {
        assert_eq!(sink.write(&[IoSlice::new(&[7; 1000])]).unwrap(), 1000);
        reader.read_exact(&mut [0; 10]).unwrap();
        drop(reader);
        await_end(&sink);
        assert!(sink.finish().is_err());
    }
    for (mut sink, reader) in sockets() {
        assert_eq!(sink.write(&[IoSlice::new(&[7; 1000])]).unwrap(), 1000);
        drop(reader);
        assert!(sink.watch(&Bell::new().unwrap()).is_err());
    }
}

#[test]
fn a_file_that_is_cut_behind_the_reader_has_failed_and_one_that_ends_is_whole() {
    for (cut_to, began, is_whole) in
        [(1000, 0, true), (600, 0, true), (599, 0, false), (0, 0, false), (0, 1000, true)]
    {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 1000]).unwrap();
        file.seek(SeekFrom::Start(began)).unwrap();
        let mut source = FileSource::new(file.try_clone().unwrap(), "the file");
        source.read(&mut [0; 600]).unwrap();
        file.set_len(cut_to).unwrap();
        assert_eq!(source.finish().is_ok(), is_whole, "{cut_to} {began}");
        assert_eq!(source.passing().finish().is_ok(), is_whole, "{cut_to} {began}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_says_that_it_has_no_length_is_whole_at_its_end() {
    let mut source = FileSource::new(File::open("/proc/self/status").unwrap(), "the file");
    while source.read(&mut [0; 600]).unwrap() > 0 {}
    assert_eq!(source.finish(), Ok(()));
}

#[test]
fn what_has_nothing_to_read_is_empty_for_most_programs_and_what_fails_is_not() {
    let source = |file| FileSource::new(file, "stdin").passing();
    let writable = File::options().write(true).open("/dev/null").unwrap();
    assert_eq!(source(writable.try_clone().unwrap()).read(&mut [0; 10]), Ok(0));
    assert!(FileSource::new(writable, "stdin").read(&mut [0; 10]).is_err());
    assert!(source(File::open("/").unwrap()).read(&mut [0; 10]).is_err());
    #[cfg(target_os = "linux")]
    {
        // its first page is nobody's
        let failing = File::open("/proc/self/mem").unwrap();
        let found = source(failing).read(&mut [0; 10]);
        assert!(found.as_ref().is_err_and(|why| why.starts_with("cannot read stdin: ")), "{found:?}");
    }
}

#[test]
fn the_reader_of_a_socket_sees_the_end_while_the_source_has_it_too_and_only_then() {
    for two_way in [true, false] {
        for (sink, mut reader) in sockets() {
            let mut sink = sink.two_way(two_way);
            let mut source = sink.file.as_ref().unwrap().try_clone().unwrap();
            assert_eq!(sink.write(&[IoSlice::new(&[7; 1000])]).unwrap(), 1000);
            reader.read_exact(&mut [0; 1000]).unwrap();
            assert!(sink.finish().is_ok());
            if two_way {
                assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
            } else {
                source.write_all(b"more").unwrap();
                reader.read_exact(&mut [0; 4]).unwrap();
            }
            reader.write_all(b"answer").unwrap();
            source.read_exact(&mut [0; 6]).unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_synced_or_counted_has_all_that_was_written() {
    let open = |path| File::options().write(true).open(path).unwrap();
    // the name of this thread
    let mut sink = FileSink::new(open("/proc/thread-self/comm"), "the file");
    assert_eq!(sink.write(&[IoSlice::new(b"named")]).unwrap(), 5);
    assert_eq!(sink.finish(), Ok(()));
    assert_eq!(std::fs::read_to_string("/proc/thread-self/comm").unwrap(), "named\n");
    // to the kernel
    let family = rustix::net::AddressFamily::NETLINK;
    let socket = rustix::net::socket(family, rustix::net::SocketType::RAW, None).unwrap();
    let mut sink = FileSink::new(File::from(socket), "the socket");
    let bell = Bell::new().unwrap();
    bell.ring();
    assert_eq!((sink.watch(&bell), sink.finish()), (Ok(()), Ok(())));
}

#[test]
fn a_reader_that_took_everything_may_go() {
    for (mut sink, mut reader) in sockets() {
        assert_eq!(sink.write(&[IoSlice::new(&[7; 1000])]).unwrap(), 1000);
        reader.read_exact(&mut [0; 1000]).unwrap();
        drop(reader);
        assert!(sink.finish().is_ok());
    }
}
