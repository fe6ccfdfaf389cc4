#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::lines::a_record_is_one_line(data));
