/*
 * Deferred calls; see defer_call.h. Any thread: all state is the calling thread's.
 *
 * Invariants
 * 1. The array holds each pair of function and argument once, in the order in which it was first asked for.
 * 2. It is empty while no section is open and no deferred call is being made.
 */
#include "core/defer_call.h"

#include <glib.h>
#include <stdint.h>

#include "core/fatal.h"

typedef struct DeferredCall {
    void (*fn)(void *);
    void *opaque;
} DeferredCall;

typedef struct DeferCallThreadState {
    unsigned nesting_level;
    GArray *deferred_call_array;
} DeferCallThreadState;

static __thread DeferCallThreadState defer_call_thread_state;

/* A coroutine may change threads between two calls: the address is worked out anew each time. */
static __attribute__((noinline)) DeferCallThreadState *state_here(void)
{
    DeferCallThreadState *address = &defer_call_thread_state;

    __asm__ volatile("" : "+r"(address));
    return address;
}

void defer_call(void (*fn)(void *), void *opaque)
{
    DeferCallThreadState *state = state_here();
    DeferredCall call = { fn, opaque };

    if (state->nesting_level == 0) {
        fn(opaque);
        return;
    }
    if (!state->deferred_call_array) {
        state->deferred_call_array = g_array_new(FALSE, FALSE, sizeof(DeferredCall));
    }
    for (guint i = 0; i < state->deferred_call_array->len; i++) {
        const DeferredCall *known = &g_array_index(state->deferred_call_array, DeferredCall, i);

        if (known->fn == fn && known->opaque == opaque) {
            return;
        }
    }
    g_array_append_val(state->deferred_call_array, call);
}

void defer_call_begin(void)
{
    DeferCallThreadState *state = state_here();

    core_assert(state->nesting_level < UINT32_MAX);
    state->nesting_level++;
}

/*
 * The calls are made while the array still holds them, and the length is read anew each time: a call that opens a section and defers
 * adds to the end of this very array, and the end of that section walks it from the start. So a function may be called again for what
 * the walk outside has called already: harmless for functions that look whether there is something to do, which all of them must.
 */
void defer_call_end(void)
{
    DeferCallThreadState *state = state_here();
    GArray *array = state->deferred_call_array;

    core_assert(state->nesting_level > 0);
    if (--state->nesting_level > 0 || !array) {
        return;
    }
    for (guint i = 0; i < array->len; i++) {
        DeferredCall call = g_array_index(array, DeferredCall, i);

        call.fn(call.opaque);
    }
    g_array_set_size(array, 0);
}

unsigned defer_call_nesting(void)
{
    return state_here()->nesting_level;
}

void defer_call_thread_reset(void)
{
    DeferCallThreadState *state = state_here();

    if (state->deferred_call_array) {
        g_array_free(state->deferred_call_array, TRUE);
    }
    *state = (DeferCallThreadState){ 0 };
}
