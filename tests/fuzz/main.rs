//! The fuzz targets' bodies over their seeds (`fuzz/seeds`), and over each of these cut short and
//! with an octet changed: what a fuzzer would try first.

mod bodies;
mod conversations;
mod images;
mod lines;
#[path = "../common/site.rs"]
mod site;
#[path = "../common/socket.rs"]
mod socket;

use std::fs;
use std::path::Path;

/// Runs a body over all seeds of its name.
fn over_seeds(name: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        body(&seed);
        for at in 0..seed.len() {
            body(&seed[..at]);
            for changed in [b'\r', b'\n', b' ', b'0', b',', seed[at] ^ 0x20] {
                let mut other = seed.clone();
                other[at] = changed;
                body(&other);
            }
        }
        seeds += 1;
    }
    assert!(seeds > 2, "{} seeds in {}", seeds, folder.display());
}

macro_rules! fuzz_tests {
    ($($module:ident::$name:ident,)*) => {$(
        #[test]
        fn $name() {
            over_seeds(stringify!($name), $module::$name);
        }
    )*};
}

fuzz_tests! {
    bodies::request_parsing_is_sound,
    bodies::bodies_end_alike_in_any_pieces,
    bodies::range_stays_inside,
    bodies::paths_stay_beneath_the_root,
    bodies::lines_of_a_list_are_one_list,
    bodies::operator_fields_never_end_a_head,
    conversations::conn_never_answers_twice,
    images::site_image_reading_is_sound,
    lines::prefaces_end_alike_in_any_pieces,
    lines::a_record_is_one_line,
}
