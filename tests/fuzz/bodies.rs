//! What must hold for any bytes at all. Each function is the body of a fuzz target of its name (in
//! `fuzz/`), and of a plain test over the seeds.

use std::ops::Range;

use tine::http::coding::Wishes;
use tine::http::extra::{Caching, Extra};
use tine::http::fields::{Fields, Slots};
use tine::http::framing::{Discard, Framing};
use tine::http::limits::Limits;
use tine::http::precondition::Validators;
use tine::http::range::{Asked, Extent};
use tine::http::reject::Reject;
use tine::http::request::Request;
use tine::http::target::{Abnormal, encode, normalise};

/// A head is understood at its last octet and not before, whatever follows it; and one that a
/// proxy might read differently is not understood at all.
pub fn request_parsing_is_sound(data: &[u8]) {
    let limits =
        Limits { target_max: 64, request_head_max: 512, header_count_max: 8, ..Limits::default() };
    let len_of = |bytes: &[u8]| {
        let mut slots = Slots::new();
        Request::parse(bytes, &mut slots, &limits).map(|parsed| parsed.map(|(_, len)| len))
    };
    let outcome = len_of(data);
    let Ok(Some(len)) = outcome else {
        assert!(outcome != Ok(None) || data.len() < limits.request_head_max, "it waits for more");
        return;
    };
    let head = &data[..len];
    assert_eq!(len_of(head), Ok(Some(len)), "it depends on what follows");
    for cut in 0..len {
        assert_eq!(len_of(&head[..cut]), Ok(None), "it was understood before its end");
    }
    assert!(len <= limits.request_head_max && head.ends_with(b"\r\n\r\n"));
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let lines: Vec<_> = text.trim_start_matches("\r\n").split("\r\n").collect();
    assert!(!lines.iter().any(|line| line.contains(['\r', '\n', '\0'])), "a line has two ends");
    let count = |name: &str| {
        let named = |line: &&&str| line.split(':').next() == Some(name);
        lines.iter().skip(1).filter(named).count()
    };
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(lengths <= 1 && (lengths == 0 || codings == 0), "it has two framings");
    let hosts = count("host");
    assert!(hosts == 1 || hosts == 0 && lines[0].ends_with(" http/1.0"), "it has {hosts} hosts");
}

/// A body ends where it ends, in whatever pieces it comes.
pub fn bodies_end_alike_in_any_pieces(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let run = |step: usize| -> Result<(usize, bool), Reject> {
        let mut discard = Discard::new(Framing::Chunked, 300)?;
        let mut used = 0;
        for piece in bytes.chunks(step) {
            let len = discard.consume(piece)?;
            used += len;
            if discard.is_done() {
                assert!(is_chunked(&bytes[..used]), "another reader sees another end");
                break;
            }
            assert_eq!(len, piece.len(), "it is not done, and leaves something");
        }
        Ok((used, discard.is_done()))
    };
    assert_eq!(run(usize::from(step).max(1)), run(usize::MAX));
}

/// Whether these are chunks to their end, by another reader.
fn is_chunked(mut bytes: &[u8]) -> bool {
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(bytes)
        else {
            return false;
        };
        bytes = &bytes[start..];
        if size == 0 {
            let mut slots = [httparse::EMPTY_HEADER; 2048];
            let trailers = httparse::parse_headers(bytes, &mut slots);
            return trailers.is_ok_and(|read| read.is_complete() && read.unwrap().0 == bytes.len());
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some((_, behind)) = bytes.split_at_checked(size) else { return false };
        let Some(next) = behind.strip_prefix(b"\r\n") else { return false };
        bytes = next;
    }
}

/// No part of a range request leads out of what there is, and none has an octet twice.
pub fn range_stays_inside(data: &[u8]) {
    let Some((size, value)) = data.split_first_chunk() else { return };
    let size = u64::from_le_bytes(*size);
    let block = [b"Range: bytes=", value, b"\r\n\r\n"].concat();
    let mut slots = Slots::new();
    let Ok(Some((fields, _))) = Fields::parse(&block, &mut slots, 4) else { return };
    let extent =
        Asked::read(&fields, 16, || None).map(|asked| asked.of(size, Validators::default()));
    let parts: Box<[Range<u64>]> = match extent {
        None | Some(Extent::Whole | Extent::Unsatisfiable) => return,
        Some(Extent::Part(part)) => [part].into(),
        Some(Extent::Parts(parts)) => parts,
    };
    assert!(parts.len() <= 16 && parts.iter().all(|part| part.start < part.end));
    assert!(parts.iter().all(|part| part.end <= size), "{parts:?} of {size}");
    let mut sorted = parts.into_vec();
    sorted.sort_unstable_by_key(|part| part.start);
    assert!(sorted.windows(2).all(|two| two[0].end <= two[1].start), "{sorted:?}");
}

/// No path climbs, and the normal form of a path is what its own location leads to.
pub fn paths_stay_beneath_the_root(data: &[u8]) {
    let path = [b"/", data].concat();
    // Other octets are refused with the target.
    if !data.iter().all(u8::is_ascii_graphic) {
        return;
    }
    let normal = match normalise(&path) {
        Ok(normal) => normal.path,
        Err(Abnormal::Malformed) => return assert!(data.contains(&b'%') || data.contains(&b'.')),
        Err(Abnormal::EncodedSlash) => return assert!(data.contains(&b'%')),
    };
    assert!(normal.starts_with(b"/") && !normal.windows(2).any(|two| two == b"//"));
    let mut segments = normal.split(|&byte| byte == b'/');
    assert!(segments.all(|segment| segment != b"." && segment != b".." && !segment.contains(&0)));
    let location = encode(&normal).to_string();
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
    let again = normalise(location.as_bytes()).expect("a normal path");
    assert_eq!((again.path, again.merged), (normal, false));
}

/// A list over several lines is the same list in one (RFC 9110 §5.3).
pub fn lines_of_a_list_are_one_list(data: &[u8]) {
    let wishes = |block: &[u8]| {
        let mut slots = Slots::new();
        let parsed = Fields::parse(block, &mut slots, block.len()).ok()??;
        Some(Wishes::read(&parsed.0))
    };
    if data.iter().any(|byte| b"\r\n".contains(byte)) {
        return;
    }
    let line = |member: &[u8]| [b"Accept-Encoding: ", member, b"\r\n"].concat();
    let one = [&line(data)[..], b"\r\n"].concat();
    let members = data.split(|&byte| byte == b',').map(line);
    let several = [members.collect::<Vec<_>>().concat(), b"\r\n".to_vec()].concat();
    if let Some(wishes_of_one) = wishes(&one) {
        assert_eq!(Some(wishes_of_one), wishes(&several));
    }
}

/// What the operator adds is one field line each, whatever they write.
pub fn operator_fields_never_end_a_head(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut extra = Extra::default();
    let added = text.split('\u{1}').filter(|line| extra.add(line).is_ok()).count();
    for caching in [Caching::AsConfigured, Caching::Never] {
        let block = format!("{}\r\n", extra.block(caching));
        let mut slots = [httparse::EMPTY_HEADER; 4096];
        let parsed = httparse::parse_headers(block.as_bytes(), &mut slots).expect("a sound block");
        let httparse::Status::Complete((len, fields)) = parsed else { panic!("no end: {block}") };
        assert_eq!(len, block.len(), "it ends early");
        let others = fields.iter().filter(|field| field.name != "Cache-Control").count();
        assert!(others <= added, "{others} of {added}: {block}");
        let is_refused = |name: &str| Extra::default().add(&format!("{name}: x")).is_err();
        let refused = fields.iter().find(|field| is_refused(field.name));
        assert!(refused.is_none(), "{refused:?}");
    }
}
