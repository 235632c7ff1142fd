//! The one call into `libchdb`.
#![allow(unsafe_code, reason = "ClickHouse comes as a C library that is loaded at run time")]

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::ptr;

use libloading::Library;

/// `struct local_result_v2` of the library's header `chdb.h`.
#[repr(C)]
struct LocalResult {
    buffer: *mut c_char,
    len: usize,
    vector: *mut c_void,
    elapsed: f64,
    rows_read: u64,
    bytes_read: u64,
    error_message: *mut c_char,
}

type QueryStable = unsafe extern "C" fn(argc: c_int, argv: *mut *mut c_char) -> *mut LocalResult;

/// Runs a `clickhouse-local` command line in this process until its last query ends.
///
/// # Errors
/// One line: the library cannot be loaded, or ClickHouse's own error.
pub(crate) fn run(library: &Path, arguments: &[OsString]) -> Result<(), String> {
    let owned: Vec<CString> = arguments
        .iter()
        .map(|argument| CString::new(argument.clone().into_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_| "an argument holds a zero byte".to_owned())?;
    let count = c_int::try_from(owned.len()).map_err(|_| "too many arguments".to_owned())?;
    let mut argv: Vec<*mut c_char> = owned.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    argv.push(ptr::null_mut());

    // SAFETY: the file has been checked against its kept sha256 before it came into the cache; its initialisers are
    // those of a build made to be loaded this way.
    let library = unsafe { Library::new(library) }.map_err(|error| error.to_string())?;
    // SAFETY: the type is the one declared in the header of this exact version.
    let query = unsafe { library.get::<QueryStable>(b"query_stable_v2\0") }.map_err(|error| error.to_string())?;
    // SAFETY: `argv` holds `count` pointers to zero-terminated strings and a null, as for `main`, all alive during the
    // call; the library copies what it keeps.
    let result = unsafe { query(count, argv.as_mut_ptr()) };
    // SAFETY: the library returns null or a result that stays valid until it is freed, which we leave to the end of
    // the process.
    let message = unsafe { result.as_ref() }.map_or(ptr::null_mut(), |result| result.error_message);
    // The library's threads may still run: it must never be unloaded.
    std::mem::forget(library);
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message that is not null is a zero-terminated string owned by the result.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().trim().to_owned())
}
