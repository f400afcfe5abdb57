//! A finished path, put to aws-lc's own verifier.

use std::ffi::{c_int, c_ulong, c_void};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use aws_lc_sys as ffi;

use super::Certificate;
use crate::tls::VerifyError;

/// An error of aws-lc's verifier, and the depth where it saw it.
pub(in crate::tls) type Found = (usize, VerifyError);

/// What aws-lc's `X509_verify_cert` finds wrong with `path`, the leaf first and what is trusted last, at `now` in seconds
/// since 1970: in signatures, dates, extensions, names and their constraints. What the path is for is not asked.
pub(in crate::tls) fn confirm(path: &[Certificate], now: i64) -> Vec<Found> {
    let (Some(leaf), Some(top)) = (path.first(), path.last()) else {
        return vec![(0, VerifyError::Unspecified)];
    };
    let mut found: Vec<Found> = Vec::new();
    match verify(leaf, &path[1..], top, now, &mut found) {
        Some(true) => {}
        Some(false) if !found.is_empty() => {}
        // An error that it tells nobody of, or no memory.
        _ => found.push((0, VerifyError::Unspecified)),
    }
    found
}

/// `None` where it could not be asked.
fn verify(
    leaf: &Certificate,
    above: &[Certificate],
    top: &Certificate,
    now: i64,
    found: &mut Vec<Found>,
) -> Option<bool> {
    const FLAGS: i32 = ffi::X509_V_FLAG_PARTIAL_CHAIN | ffi::X509_V_FLAG_TRUSTED_FIRST;
    let index = index()?;
    let sent = Stack::new(above)?;
    let trusted = Stack::new(std::slice::from_ref(top))?;
    let depth = c_int::try_from(above.len() + 1).ok()?;
    let store = Owned::new(new_store(), ffi::X509_STORE_free)?;
    let context = Owned::new(new_context(), ffi::X509_STORE_CTX_free)?;
    // SAFETY: everything that the context is given outlives it: it is freed before the stacks and the store, and `found`
    // is borrowed for the whole call. Certificates are not changed.
    unsafe {
        let context = context.0.as_ptr();
        if ffi::X509_STORE_CTX_init(context, store.0.as_ptr(), leaf.0.as_ptr(), sent.pointer()) != 1
            || ffi::X509_STORE_CTX_set_ex_data(context, index, ptr::from_mut(found).cast()) != 1
        {
            return None;
        }
        ffi::X509_STORE_CTX_set0_trusted_stack(context, trusted.pointer());
        ffi::X509_STORE_CTX_set_flags(context, c_ulong::from(FLAGS.cast_unsigned()));
        ffi::X509_STORE_CTX_set_time_posix(context, 0, now);
        ffi::X509_STORE_CTX_set_depth(context, depth);
        ffi::X509_STORE_CTX_set_verify_cb(context, Some(note));
        let good = ffi::X509_verify_cert(context) == 1;
        if !good && found.is_empty() {
            note(0, context);
        }
        Some(good)
    }
}

fn new_store() -> *mut ffi::X509_STORE {
    // SAFETY: no arguments.
    unsafe { ffi::X509_STORE_new() }
}

fn new_context() -> *mut ffi::X509_STORE_CTX {
    // SAFETY: no arguments.
    unsafe { ffi::X509_STORE_CTX_new() }
}

/// Notes an error and has the verifier go on.
unsafe extern "C" fn note(good: c_int, context: *mut ffi::X509_STORE_CTX) -> c_int {
    let Some(index) = index() else { return good };
    // SAFETY: the verifier calls this with its context, in which `verify` has left a pointer to its list.
    unsafe {
        let found: *mut Vec<Found> = ffi::X509_STORE_CTX_get_ex_data(context, index).cast();
        if good == 0
            && let Some(found) = found.as_mut()
        {
            let depth = ffi::X509_STORE_CTX_get_error_depth(context);
            let error = VerifyError::from_aws_lc(ffi::X509_STORE_CTX_get_error(context));
            found.push((usize::try_from(depth).unwrap_or(0), error));
        }
    }
    1
}

/// Where a context keeps what [`note`] writes to.
fn index() -> Option<c_int> {
    static INDEX: OnceLock<c_int> = OnceLock::new();
    // SAFETY: nothing is to be done when a context is copied or freed.
    let index = *INDEX.get_or_init(|| unsafe {
        ffi::X509_STORE_CTX_get_ex_new_index(0, ptr::null_mut(), ptr::null_mut(), None, None)
    });
    (index >= 0).then_some(index)
}

/// Something of aws-lc's, and the function that frees it.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn new(pointer: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
        NonNull::new(pointer).map(|pointer| Owned(pointer, free))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours and is not used any more.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

/// Certificates in a list of aws-lc's, which does not own them.
struct Stack<'a>(
    Owned<ffi::OPENSSL_STACK>,
    std::marker::PhantomData<&'a Certificate>,
);

impl<'a> Stack<'a> {
    fn new(certificates: &'a [Certificate]) -> Option<Stack<'a>> {
        // SAFETY: no arguments; the list is ours.
        let stack = Owned::new(unsafe { ffi::OPENSSL_sk_new_null() }, ffi::OPENSSL_sk_free)?;
        for certificate in certificates {
            let pointer = certificate.0.as_ptr().cast::<c_void>();
            // SAFETY: the list is valid. Freeing it leaves what is in it alone.
            if unsafe { ffi::OPENSSL_sk_push(stack.0.as_ptr(), pointer) } == 0 {
                return None;
            }
        }
        Some(Stack(stack, std::marker::PhantomData))
    }

    fn pointer(&self) -> *mut ffi::stack_st_X509 {
        self.0.0.as_ptr().cast()
    }
}
