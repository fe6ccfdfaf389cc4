#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::bodies::range_stays_inside(data));
