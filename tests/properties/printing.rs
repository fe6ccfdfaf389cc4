//! What is printed is read as what it was.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use tine::http::date::imf_fixdate;
use tine::http::fields::{Name, Slots};
use tine::http::framing::{Discard, Framing};
use tine::http::limits::Limits;
use tine::http::method::Method;
use tine::http::precondition::{Conditions, Validators, Verdict};
use tine::http::request::{Persistence, Request};
use tine::http::target::{Locator, Normal, Target, encode, normalise};

use crate::with_fields;

const METHODS: [(&str, Method); 6] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("OPTIONS", Method::Options),
    ("POST", Method::Post),
    ("get", Method::Unknown),
    ("X-Y!", Method::Unknown),
];

/// Names of fields that tine looks at, and that have no rules of their own for a head.
const MINDED: [(&str, Name); 4] = [
    ("Accept", Name::Accept),
    ("if-none-match", Name::IfNoneMatch),
    ("RANGE", Name::Range),
    ("Accept-Encoding", Name::AcceptEncoding),
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![0x21..0x7f_u8, 0x80..=0xff_u8];
    let inner = prop_oneof![8 => octet.clone(), 1 => select(&b" \t"[..])];
    prop_oneof![
        Just(Vec::new()),
        (octet.clone(), prop::collection::vec(inner, 0..12), octet)
            .prop_map(|(first, inner, last)| [&[first], &inner[..], &[last]].concat()),
    ]
}

fn segment() -> impl Strategy<Value = Vec<u8>> {
    let octet = (1..=255_u8).prop_filter("a slash ends it", |&octet| octet != b'/');
    prop::collection::vec(octet, 1..8)
        .prop_filter("dots are removed", |name| name != b"." && name != b"..")
}

proptest! {
    #[test]
    fn a_request_head_is_what_was_printed(
        (token, method) in select(&METHODS[..]),
        path in "/[!$-.0-;=@-Z\\[\\]_a-z|~\\\\^]{0,20}",
        query in prop::option::of("[!$-;=?-Z_a-z~]{0,10}"),
        minor in 0..=1_u8,
        closes in any::<bool>(),
        fields in prop::collection::vec((select(&MINDED[..]), value()), 0..8),
        behind in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mark = if query.is_some() { "?" } else { "" };
        let query_text = query.clone().unwrap_or_default();
        let mut bytes =
            format!("{token} {path}{mark}{query_text} HTTP/1.{minor}\r\nHost: x\r\n").into_bytes();
        for ((name, _), value) in &fields {
            bytes.extend([name.as_bytes(), b":\t", value, b" \r\n"].concat());
        }
        bytes.extend_from_slice(if closes { b"Connection: close\r\n\r\n" } else { b"\r\n" });
        let len = bytes.len();
        bytes.extend(behind);

        let mut slots = Slots::new();
        let parsed = Request::parse(&bytes, &mut slots, &Limits::default()).unwrap();
        let (request, parsed_len) = parsed.expect("a whole head");
        prop_assert_eq!(parsed_len, len);
        prop_assert_eq!(request.method, method);
        let query = query.as_ref().map(String::as_bytes);
        prop_assert_eq!(request.target, Target::Path(Locator { path: path.as_bytes(), query }));
        let keeps = minor == 1 && !closes;
        prop_assert_eq!(request.persistence == Persistence::Keep, keeps);
        for (_, name) in MINDED {
            let printed = fields.iter().filter(|((_, known), _)| *known == name);
            let printed: Vec<_> = printed.map(|(_, value)| &value[..]).collect();
            prop_assert_eq!(request.fields.lines(name).collect::<Vec<_>>(), printed);
        }
    }

    #[test]
    fn a_head_has_an_end_only_where_it_was_printed(cut in any::<Index>()) {
        let head = b"GET /a?b HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
        let mut slots = Slots::new();
        let cut = cut.index(head.len());
        let parsed = Request::parse(&head[..cut], &mut slots, &Limits::default());
        prop_assert!(parsed.unwrap().is_none(), "at {}", cut);
    }

    #[test]
    fn a_path_is_the_same_after_a_location(
        segments in prop::collection::vec(segment(), 1..5),
        is_folder in any::<bool>(),
    ) {
        let mut path = [b"/", &segments.join(&b'/')[..]].concat();
        path.extend_from_slice(if is_folder { b"/" } else { b"" });
        let location = encode(&path).to_string();
        prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{}", location);
        let normal = Normal { path: path.into(), merged: false };
        prop_assert_eq!(normalise(location.as_bytes()), Ok(normal));
    }

    #[test]
    fn a_normal_path_has_no_dots_and_begins_with_one_slash(path in "/[a-c./%2eE]{0,16}") {
        if let Ok(normal) = normalise(path.as_bytes()) {
            prop_assert!(normal.path.starts_with(b"/") && !normal.path.starts_with(b"//"));
            let mut segments = normal.path.split(|&byte| byte == b'/');
            prop_assert!(segments.all(|segment| segment != b"." && segment != b".."));
        }
    }

    #[test]
    fn a_date_is_read_as_the_second_that_it_was(second in 0..253_402_300_799_u64) {
        let line = format!("If-Modified-Since: {}", imf_fixdate(second));
        let conditions = with_fields(&[line], |fields| Conditions::read(fields, || None));
        let at = |second| Validators { etag: None, modified: Some(second) };
        prop_assert_eq!(conditions.weigh(at(second)), Verdict::Unchanged);
        prop_assert_eq!(conditions.weigh(at(second + 1)), Verdict::Proceed);
    }

    #[test]
    fn chunks_end_where_they_were_printed_to_end(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..6),
        extension in "(;[a-z]{1,3}(=[a-z]{1,3})?){0,2}",
        trailers in prop::collection::vec("[A-Z][a-z-]{0,5}: ?[ -~]{0,9}", 0..3),
        behind in prop::collection::vec(any::<u8>(), 0..8),
        step in 1..30_usize,
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend(format!("{:X}{extension}\r\n", chunk.len()).into_bytes());
            bytes.extend([chunk, &b"\r\n"[..]].concat());
        }
        bytes.extend_from_slice(b"0\r\n");
        bytes.extend(trailers.iter().flat_map(|line| format!("{line}\r\n").into_bytes()));
        bytes.extend_from_slice(b"\r\n");
        let len = bytes.len();
        bytes.extend(behind);

        let mut discard = Discard::new(Framing::Chunked, 1000).unwrap();
        let mut used = 0;
        while !discard.is_done() {
            let piece = &bytes[used..bytes.len().min(used + step)];
            used += discard.consume(piece).unwrap();
        }
        prop_assert_eq!(used, len);
    }
}
