/*
 * Deferred calls: between defer_call_begin() and defer_call_end() calls of functions are put off and made once each at the end, so
 * that what several requests ask for (a system call, an interrupt) is done once for all of them.
 *
 *     defer_call_begin();
 *     defer_call(f, a); defer_call(f, b); defer_call(f, a);
 *     defer_call_end();    calls f(a), then f(b)
 *
 * Each thread has sections of its own. They nest: calls are made at the end of the outermost one. A deferred function may begin a
 * section, defer, and end it: that one is the outermost then, and its end makes calls while those of the first are being made.
 *
 * Outside of any section defer_call() calls at once. So whoever calls it must hold nothing that the function takes (QEMU 66547f416a;
 * fault defer-call-runs-under-lock).
 *
 * From QEMU: include/qemu/defer-call.h, util/defer-call.c.
 */
#ifndef WAKEFUZZ_CORE_DEFER_CALL_H
#define WAKEFUZZ_CORE_DEFER_CALL_H

/* Any thread; never block by themselves. A section must end in the thread in which it began: no coroutine may yield inside one that it
 * has begun and go on elsewhere. What is deferred must live until the end. */
void defer_call_begin(void);
void defer_call_end(void);
void defer_call(void (*fn)(void *), void *opaque);

/* How deep the calling thread's sections nest. For tests. */
unsigned defer_call_nesting(void);

/* Part of core_thread_reset(): no section is open; memory of deferred calls is freed. */
void defer_call_thread_reset(void);

#endif
