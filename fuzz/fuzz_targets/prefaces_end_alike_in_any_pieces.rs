#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::lines::prefaces_end_alike_in_any_pieces(data));
