/*
 * Run-time options of the sanitizers, built in so that a target behaves the same whoever starts it. sanitizers/README.md gives the
 * reason for each.
 */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__ubsan_default_options(void);
const char *__msan_default_options(void);
const char *__lsan_default_options(void);

const char *__asan_default_options(void)
{
    /* A fake stack would give automatic variables heap addresses, and so an identity that the other flavours do not give them. */
    /* Executions are short and free all they allocate: a small quarantine keeps memory flat, short allocation stacks keep it fast. */
    return "detect_stack_use_after_return=0:allow_user_segv_handler=1:handle_abort=0:abort_on_error=0:"
           "quarantine_size_mb=16:malloc_context_size=8";
}

const char *__tsan_default_options(void)
{
    /* The default goes on after a report, and libFuzzer then saves an empty artifact. A deadlock is ours to prove, not to suspect. */
    return "halt_on_error=1:exitcode=77:detect_deadlocks=0:report_signal_unsafe=0:atexit_sleep_ms=0";
}

const char *__ubsan_default_options(void)
{
    /* OSS-Fuzz has unsigned overflow told to its engine, and it is no defect: rings and hashes count modulo. */
    return "print_stacktrace=1:halt_on_error=1:silence_unsigned_overflow=1";
}

const char *__msan_default_options(void)
{
    /* GLib and json-glib are not instrumented: what they write into memory from the allocator would pass for uninitialised. */
    return "poison_in_malloc=0:poison_in_free=0";
}

const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
