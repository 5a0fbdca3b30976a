//! Fuzzes the entry point of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_fuzz::journal_segment(bytes));
