//! What must hold of what comes before a request, and of what is written about it.

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Duration;

use tine::config::LogFormat;
use tine::http::fields::Slots;
use tine::http::limits::Limits;
use tine::http::request::Request;
use tine::log::{LINE_MAX, Ledger, Line, Style};
use tine::peer::preface::Preface;
use tine::peer::{Cidr, Trusted};
use tine::scoreboard::{Scoreboard, Slot};

/// A preface is understood at its last octet and not before, whatever follows it; and whether it is
/// one is known soon.
pub fn prefaces_end_alike_in_any_pieces(data: &[u8]) {
    match Preface::parse(data) {
        Ok(None) => assert!(data.len() < 2048, "it waits for more"),
        Ok(Some(preface)) => {
            assert!((15..=2048).contains(&preface.len) && preface.len <= data.len());
            assert_eq!(Preface::parse(&data[..preface.len]), Ok(Some(preface)));
            for cut in 0..preface.len {
                assert_eq!(Preface::parse(&data[..cut]), Ok(None), "before its end");
            }
        }
        Err(wrong) => {
            let with_more = [data, b"\r\n\r\n\0"].concat();
            assert_eq!(Preface::parse(&with_more), Err(wrong), "more made it one");
        }
    }
}

/// Whatever is asked, what is written is one line of printable text, and of the promised length.
pub fn a_record_is_one_line(data: &[u8]) {
    static BOARD: LazyLock<Scoreboard<'static>> = LazyLock::new(|| Scoreboard::leaked(1, 0));
    let slot: Slot<'static> = BOARD.own_slot(0);
    let mut trusted = Trusted::default();
    trusted.add(Cidr::parse("127.0.0.0/8").unwrap());
    let peer = Ipv4Addr::LOCALHOST.into();
    for format in [LogFormat::Json, LogFormat::Combined, LogFormat::Text, LogFormat::Headers] {
        let style = Style { format, has_colours: false };
        let mut ledger = Ledger::new(style, 2, trusted.clone());
        let mut slots = Slots::new();
        let record = match Request::parse(data, &mut slots, &Limits::default()) {
            Ok(Some((request, _))) => ledger.record(&request, peer),
            _ => ledger.record_unknown(data, peer),
        };
        let record = record.unwrap();
        let took = Duration::from_micros(1234);
        let record = &record;
        let line =
            Line { record, millis: 99, status: 200, bytes: 5, took, is_cut: true, generation: 7 };
        ledger.write(&line, slot);
        let text = std::str::from_utf8(ledger.chunk(LINE_MAX)).expect("it is text");
        let line = text.strip_suffix('\n').expect("it has an end, and is not too long");
        let is_text = |letter: char| match format {
            LogFormat::Json => !letter.is_control(),
            _ => matches!(letter, ' '..='~'),
        };
        assert!(line.chars().all(is_text), "{line:?}");
        if format == LogFormat::Json {
            let object: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
            assert_eq!((&object["status"], &object["cut"]), (&200.into(), &true.into()));
        }
    }
}
