#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::images::site_image_reading_is_sound(data));
