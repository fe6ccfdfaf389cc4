//! The golden files over real sockets. `GOLDEN=write cargo test golden` writes the answers anew,
//! to be read before they are believed.

#[path = "../common/golden.rs"]
pub mod cases;

use std::net::Shutdown;

use crate::harness::{Folder, Tine};

#[test]
fn every_request_is_answered_to_the_byte() {
    let folder = Folder::new(&[]);
    cases::make_site(folder.path());
    let is_rewriting = std::env::var_os("GOLDEN").is_some_and(|mode| mode == "write");
    for mut page in cases::pages() {
        let args: Vec<_> = page.args.iter().map(String::as_str).collect();
        let tine = Tine::serve(&folder, &args);
        for case in &mut page.cases {
            let mut client = tine.connect();
            client.send(&case.request);
            client.stream.shutdown(Shutdown::Write).unwrap();
            let answer = cases::mask_dates(&client.rest());
            if is_rewriting {
                case.answer = answer;
            } else {
                let (got, wanted) = (answer.escape_ascii(), case.answer.escape_ascii());
                assert_eq!(got.to_string(), wanted.to_string(), "{:?}: {}", page.path, case.name);
            }
        }
        if is_rewriting {
            page.write();
        }
    }
}
