#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::bodies::paths_stay_beneath_the_root(data));
