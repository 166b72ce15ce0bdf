use super::*;
use proptest::prelude::*;

fn encoded<R: Record>(file: u32, record: &R) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(file, record, &mut bytes);
    bytes
}

fn decoded<R: Record>(mut bytes: &[u8]) -> Result<Option<(u32, R)>, Senseless> {
    let mut reader = RecordReader::default();
    match reader.next(&mut bytes)? {
        Some(Item::Record(file, record)) if bytes.is_empty() => Ok(Some((file, record))),
        _ => Ok(None),
    }
}

fn open() -> Open {
    Open { size: Some(0x0102), name: b"a/b".to_vec(), meta: b"{}".to_vec() }
}

#[test]
fn golden_bytes_of_a_sender() {
    let mark = Mark { length: 7, sum: Sum([0xab; 32]) };
    let sum = [&[0, 0, 0, 0, 0, 0, 0, 7][..], &[0xab; 32]].concat();
    let opened = [&[1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 3][..], b"a/b", &[0, 0, 0, 2], b"{}"].concat();
    let whole = Open { size: Some(1), ..open() };
    let mut wholed = [&opened[..], &[0xab; 32], &[0, 0, 0, 1], b"x"].concat();
    (wholed[7], wholed[8]) = (0, 1);
    for (record, kind, body) in [
        // has a size, size, length of the name, name, length of the metadata, metadata
        (Up::Open(open()), 1, opened),
        // offset
        (Up::From(0x0102_0304_0506_0708), 2, vec![1, 2, 3, 4, 5, 6, 7, 8]),
        // size, sum
        (Up::End(mark), 4, sum),
        (Up::Same, 5, vec![]),
        (Up::Reads, 8, vec![]),
        (Up::Stop("gone".into()), 6, b"gone".to_vec()),
        // as Open; sum, length, bytes
        (Up::Whole(whole, Sum([0xab; 32]), b"x".to_vec()), 7, wholed),
    ] {
        let header = [&[kind, 0, 0, 1, 2][..], &(body.len() as u32).to_be_bytes()].concat();
        let bytes = encoded(0x0102, &record);
        assert_eq!(bytes, [header, body].concat(), "{record:?}");
        assert_eq!(decoded(&bytes), Ok(Some((0x0102, record))));
    }
    assert_eq!(encoded(9, &Up::Data(0x0001_0203)), [3, 0, 0, 0, 9, 0, 1, 2, 3]);
    let unsized_ = Up::Open(Open { size: None, ..open() });
    assert_eq!(encoded(1, &unsized_)[9..18], [0; 9]);
}

#[test]
fn golden_bytes_of_a_receiver() {
    let mark = |length| Mark { length, sum: Sum([0xcd; 32]) };
    let marked = |length| [&[0, 0, 0, 0, 0, 0, 0, length][..], &[0xcd; 32]].concat();
    for (record, kind, body) in [
        (Down::Wait(3), 17, vec![0, 0, 0, 3]),
        (Down::Go(vec![]), 18, vec![]),
        (Down::Go(vec![mark(1), mark(2)]), 18, [marked(1), marked(2)].concat()),
        (Down::There(mark(0)), 19, marked(0)),
        (Down::Verdict(FileVerdict::Taken, "x".into()), 20, vec![2, b'x']),
    ] {
        let header = [&[kind, 0, 0, 0, 5][..], &(body.len() as u32).to_be_bytes()].concat();
        let bytes = encoded(5, &record);
        assert_eq!(bytes, [header, body].concat(), "{record:?}");
        assert_eq!(decoded(&bytes), Ok(Some((5, record))));
    }
    for (code, verdict) in FileVerdict::ALL.into_iter().enumerate() {
        assert_eq!(verdict as usize, code);
    }
}

#[test]
fn nonsense_is_refused_before_it_is_kept() {
    let header = |kind: u8, length: u32| [&[kind, 0, 0, 0, 1][..], &length.to_be_bytes()].concat();
    let up = |bytes: &[u8]| decoded::<Up>(bytes).is_err();
    let down = |bytes: &[u8]| decoded::<Down>(bytes).is_err();
    for kind in [0, 9, 17, 18, 19, 20, 255] {
        assert!(up(&header(kind, 0)), "{kind}");
    }
    for kind in [0, 1, 3, 16, 21, 255] {
        assert!(down(&header(kind, 0)), "{kind}");
    }
    // too long for their kind, by their header alone
    for (kind, most) in [(1, OPEN_MAX), (2, 8), (4, 40), (5, 0), (6, SENTENCE_MAX), (8, 0)] {
        assert!(up(&header(kind, most as u32 + 1)) && !up(&header(kind, most as u32)) || most == 0, "{kind}");
    }
    assert!(up(&header(3, 0)) && up(&header(3, DATA_MAX as u32 + 1)) && !up(&header(3, DATA_MAX as u32)));
    assert!(down(&header(18, 4 * 40 + 1)) && down(&header(20, 2 + SENTENCE_MAX as u32)));
    // a size that is not there and yet is something; more than a name; less than it says; more than it says
    let body = |bytes: &[u8]| [header(1, bytes.len() as u32), bytes.to_vec()].concat();
    assert!(up(&body(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])));
    assert!(up(&body(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])));
    assert!(up(&body(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, b'a', 0, 0, 0, 0])));
    assert!(up(&body(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 0, 0, 0])));
    // marks that do not grow, or are of nothing
    let go = |lengths: &[u64]| {
        let marks = lengths.iter().map(|length| Mark { length: *length, sum: Sum([0; 32]) });
        encoded(1, &Down::Go(marks.collect()))
    };
    assert!(down(&go(&[2, 2])) && down(&go(&[0])) && !down(&go(&[1, 2, 3, 4])));
    // a verdict that there is not
    assert!(down(&[header(20, 1), vec![8]].concat()) && down(&header(20, 0)));
    // a whole file that is not as long as it says
    let whole =
        |size, bytes: usize| encoded(1, &Up::Whole(Open { size, ..open() }, Sum([0; 32]), vec![0; bytes]));
    assert!(up(&whole(Some(2), 1)) && up(&whole(None, 0)) && !up(&whole(Some(65536), 65536)));
    assert!(up(&whole(Some(65537), 65537)));
}

#[test]
fn sentences_are_cut_and_harmless() {
    let long = "ä".repeat(SENTENCE_MAX);
    let bytes = encoded(1, &Up::Stop(long));
    assert_eq!(bytes.len(), HEADER + SENTENCE_MAX);
    let shown = decoded(&encoded(1, &Up::Stop("a\x1b[2J\n".into())));
    assert_eq!(shown, Ok(Some((1, Up::Stop("a\u{fffd}[2J\u{fffd}".into())))));
}

fn any_open() -> impl Strategy<Value = Open> {
    (any::<Option<u64>>(), proptest::collection::vec(any::<u8>(), 0..20), ".{0,20}")
        .prop_map(|(size, name, meta)| Open { size, name, meta: meta.into_bytes() })
}

/// A record and the bytes that follow it.
fn any_up() -> impl Strategy<Value = (Up, Vec<u8>)> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..50);
    let alone = |up| (up, Vec::new());
    prop_oneof![
        any_open().prop_map(move |open| alone(Up::Open(open))),
        any::<u64>().prop_map(move |offset| alone(Up::From(offset))),
        any::<(u64, [u8; 32])>()
            .prop_map(move |(length, sum)| alone(Up::End(Mark { length, sum: Sum(sum) }))),
        Just(alone(Up::Same)),
        Just(alone(Up::Reads)),
        "[a-z ]{0,20}".prop_map(move |sentence| alone(Up::Stop(sentence))),
        (any_open(), any::<[u8; 32]>(), bytes()).prop_map(move |(open, sum, bytes)| {
            let open = Open { size: Some(bytes.len() as u64), ..open };
            alone(Up::Whole(open, Sum(sum), bytes))
        }),
        bytes().prop_map(|bytes| (Up::Data(bytes.len() as u32), bytes)),
    ]
}

proptest! {
    #[test]
    fn what_is_sent_comes_however_it_is_cut(
        sent in proptest::collection::vec((any::<u32>(), any_up()), 0..8), cuts in proptest::collection::vec(1usize..30, 1..8)
    ) {
        let mut stream = Vec::new();
        for (file, (up, data)) in &sent {
            encode(*file, up, &mut stream);
            stream.extend(data);
        }
        let (mut reader, mut came, mut rest) = (RecordReader::<Up>::default(), Vec::new(), &stream[..]);
        for cut in cuts.iter().cycle() {
            let (mut piece, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            while let Some(item) = reader.next(&mut piece).unwrap() {
                match item {
                    Item::Record(file, up) => came.push((file, (up, Vec::new()))),
                    Item::Data(file, data) => came.push((file, (Up::Data(data.len() as u32), data.to_vec()))),
                }
            }
            prop_assert!(piece.is_empty());
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(reader.is_between());
        // pieces of data are one again
        came.dedup_by(|next, before| {
            let joins = matches!((&before.1.0, &next.1.0), (Up::Data(_), Up::Data(_))) && before.0 == next.0;
            if joins {
                before.1.1.append(&mut next.1.1);
                before.1.0 = Up::Data(before.1.1.len() as u32);
            }
            joins
        });
        let mut sent = sent;
        sent.dedup_by(|next, before| {
            let joins = matches!((&before.1.0, &next.1.0), (Up::Data(_), Up::Data(_))) && before.0 == next.0;
            if joins {
                before.1.1.append(&mut next.1.1);
                before.1.0 = Up::Data(before.1.1.len() as u32);
            }
            joins
        });
        prop_assert_eq!(came, sent);
    }

    #[test]
    fn no_bytes_at_all_make_it_panic_or_keep_more_than_came(
        bytes in proptest::collection::vec(prop_oneof![0u8..21, any::<u8>()], 0..200)
    ) {
        fn play<R: Record>(mut bytes: &[u8]) {
            let (mut reader, length) = (RecordReader::<R>::default(), bytes.len());
            while let Ok(Some(_)) = reader.next(&mut bytes) {}
            assert!(reader.record.capacity() <= 2 * length + 64);
        }
        play::<Up>(&bytes);
        play::<Down>(&bytes);
    }
}
