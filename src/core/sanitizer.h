/*
 * What AddressSanitizer and ThreadSanitizer have to be told, as macros that are nothing in a plain build.
 */
#ifndef WAKEFUZZ_CORE_SANITIZER_H
#define WAKEFUZZ_CORE_SANITIZER_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CORE_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define CORE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CORE_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define CORE_TSAN 1
#endif

#ifdef CORE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define SANITIZER_POISON(low, bytes)   ASAN_POISON_MEMORY_REGION(low, bytes)
#define SANITIZER_UNPOISON(low, bytes) ASAN_UNPOISON_MEMORY_REGION(low, bytes)
#else
#define SANITIZER_POISON(low, bytes)   ((void)0)
#define SANITIZER_UNPOISON(low, bytes) ((void)0)
#endif

/*
 * Happens-before edges that go through code which TSan does not see, such as GLib's reference counts: what the
 * releasing thread did is before what the acquiring thread does.
 */
#ifdef CORE_TSAN
#include <sanitizer/tsan_interface.h>
#define SANITIZER_ACQUIRE(address) __tsan_acquire(address)
#define SANITIZER_RELEASE(address) __tsan_release(address)
/* From begin to end, what this thread does to memory is ordered by means that TSan does not see. */
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define SANITIZER_IGNORE_WRITES_BEGIN() AnnotateIgnoreWritesBegin(__FILE__, __LINE__)
#define SANITIZER_IGNORE_WRITES_END()   AnnotateIgnoreWritesEnd(__FILE__, __LINE__)
#else
#define SANITIZER_IGNORE_WRITES_BEGIN() ((void)0)
#define SANITIZER_IGNORE_WRITES_END()   ((void)0)
#define SANITIZER_ACQUIRE(address)      ((void)(address))
#define SANITIZER_RELEASE(address)      ((void)(address))
#endif

#endif
