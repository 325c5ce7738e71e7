/*
 * Thread-specific data. The values stay where glibc keeps them (pthread_getspecific and pthread_setspecific are the
 * real ones); only the destructors are noted here, because a fiber's real thread does not end when the fiber does.
 *
 * Keys are created and deleted by any thread, inside and outside executions.
 *
 * 1. A key that exists is noted, whoever made it, except the sanitizer runtimes' own: their destructors tear down the
 *    state of the real thread, which goes on.
 * 2. When a fiber ends, each noted key's value becomes NULL, so that the next thread on the same real thread starts
 *    with none.
 */
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <threads.h>

#include "os/real.h"
#include "os/thread.h"

REAL_SYMBOL(pthread_key_create)
REAL_SYMBOL(pthread_key_delete)

typedef struct Key {
    bool noted;
    void (*destructor)(void *);
} Key;

static Key keys[PTHREAD_KEYS_MAX];
static pthread_key_t keys_end; /* above all noted keys */
/* The executable's constructors have begun to run. Volatile, as compilers run simple constructors at build time. */
static volatile bool started;

extern const char __executable_start[], etext[];

static void __attribute__((constructor(101))) note_start(void)
{
    started = true;
}

/* The sanitizer runtimes are linked into the executable and start before its constructors, when nothing else in it
 * runs. */
static bool called_by_runtime(const void *caller)
{
    return !started && (uintptr_t)caller >= (uintptr_t)__executable_start && (uintptr_t)caller < (uintptr_t)etext;
}

static void note_key(pthread_key_t key, void (*destructor)(void *))
{
    keys[key] = (Key){ .noted = true, .destructor = destructor };
    if (key >= keys_end) {
        keys_end = key + 1;
    }
}

int os_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    int error = REAL(pthread_key_create)(key, destructor);

    if (!error) {
        note_key(*key, destructor);
    }
    return error;
}

int os_key_delete(pthread_key_t key)
{
    if (key < PTHREAD_KEYS_MAX) {
        keys[key].noted = false;
    }
    return REAL(pthread_key_delete)(key);
}

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    if (called_by_runtime(__builtin_return_address(0))) {
        return REAL(pthread_key_create)(key, destructor);
    }
    return os_key_create(key, destructor);
}

int pthread_key_delete(pthread_key_t key)
{
    return os_key_delete(key);
}

/* libc's own forms would not be seen by the ones above */
int tss_create(tss_t *key, tss_dtor_t destructor)
{
    pthread_key_t made;

    if (os_key_create(&made, destructor)) {
        return thrd_error;
    }
    *key = made;
    return thrd_success;
}

void tss_delete(tss_t key)
{
    os_key_delete(key);
}

/* One round over the keys; was a destructor called? */
static bool run_round(void)
{
    bool called = false;

    for (pthread_key_t key = 0; key < keys_end; key++) {
        void *value = keys[key].noted ? pthread_getspecific(key) : NULL;

        if (value) {
            void (*destructor)(void *) = keys[key].destructor;

            pthread_setspecific(key, NULL);
            if (destructor) {
                destructor(value);
                called = true;
            }
        }
    }
    return called;
}

void os_key_run_destructors(void)
{
    for (unsigned round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS && run_round(); round++) {
    }
    /* what destructors have set once too often is dropped, as glibc does */
    for (pthread_key_t key = 0; key < keys_end; key++) {
        if (keys[key].noted && pthread_getspecific(key)) {
            pthread_setspecific(key, NULL);
        }
    }
}
