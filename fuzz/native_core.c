/* The core as the program under test in flavour native: it starts up and shuts down as often as one likes. Main thread unless said otherwise. */
#include <glib.h>

#include "core/core.h"
#include "core/linux_aio.h"
#include "fuzz/native.h"

/* ---- AIO contexts: io_setup() takes the kernel 33 ms, so they are kept from one run to the next */

#define CONTEXTS_KEPT 8u

typedef struct KeptContext {
    void *io_context;
    unsigned max_events;
} KeptContext;

static KeptContext kept_contexts[CONTEXTS_KEPT];
static GMutex kept_lock; /* any thread may free an AioContext */
static LinuxAioHooks system_calls;

static int get_context(unsigned max_events, void **io_context)
{
    int ret = -1;

    g_mutex_lock(&kept_lock);
    for (unsigned i = 0; i < CONTEXTS_KEPT && ret < 0; i++) {
        if (kept_contexts[i].max_events == max_events) {
            *io_context = kept_contexts[i].io_context;
            kept_contexts[i] = (KeptContext){ 0 };
            ret = 0;
        }
    }
    g_mutex_unlock(&kept_lock);
    return ret == 0 ? 0 : system_calls.get(max_events, io_context);
}

static void put_context(unsigned max_events, void *io_context)
{
    bool kept = false;

    g_mutex_lock(&kept_lock);
    for (unsigned i = 0; i < CONTEXTS_KEPT && !kept; i++) {
        if (!kept_contexts[i].max_events) {
            kept_contexts[i] = (KeptContext){ io_context, max_events };
            kept = true;
        }
    }
    g_mutex_unlock(&kept_lock);
    if (!kept) {
        system_calls.put(max_events, io_context);
    }
}

/* ---- the program */

static void init(void)
{
    system_calls = laio_hooks;
    laio_hooks = (LinuxAioHooks){ .get = get_context, .put = put_context };
}

static void run(FuzzInput *in)
{
    core_init();
    fuzz_target.run(in);
    core_reset();
}

const NativeProgram native_program = { .init = init, .run = run };
