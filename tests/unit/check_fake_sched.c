/* The hand-written scheduler; see check_fake_sched.h. */
#include "check_fake_sched.h"

#include <string.h>

enum { STEPS_MAX = 4096, THREADS_MAX = 32, SITES_MAX = 128, PROBES_MAX = 16 };

struct SchedThread {
    uint32_t id;
    char name[SCHED_NAME_BYTES];
    bool blocked, ended;
    SchedBlock block;
};

typedef struct Script {
    SchedThread *thread;
    SchedProbe probe;
    void (*steps)(void);
    bool used;
} Script;

static SchedStep steps[STEPS_MAX];
static size_t step_count;
static SchedThread threads[THREADS_MAX];
static uint32_t thread_count;
static SchedSite sites[SITES_MAX];
static unsigned site_count;
static Script scripts[PROBES_MAX];
static unsigned script_count;

SchedThread *(*fake_examiner)(void);
void (*fake_begin)(void);

void fake_reset(void)
{
    memset(steps, 0, sizeof(steps));
    memset(threads, 0, sizeof(threads));
    memset(scripts, 0, sizeof(scripts));
    step_count = thread_count = site_count = script_count = 0;
    if (fake_begin) {
        fake_begin();
    }
}

SchedThread *fake_thread(const char *name, const SchedBlock *block)
{
    SchedThread *thread = &threads[thread_count];

    thread->id = thread_count++;
    g_strlcpy(thread->name, name, sizeof(thread->name));
    thread->blocked = block != NULL;
    if (block) {
        thread->block = *block;
    }
    return thread;
}

void fake_set_ended(SchedThread *thread)
{
    thread->ended = true;
    thread->blocked = false;
}

void fake_set_block(SchedThread *thread, const SchedBlock *block)
{
    thread->blocked = true;
    thread->block = *block;
}

SchedSite *fake_site(SchedOperation operation, const char *function, const char *expression, unsigned line)
{
    SchedSite *site = &sites[site_count++];

    g_assert_cmpuint(site_count, <=, SITES_MAX);
    *site = (SchedSite){ .file = "src/core/file.c",
                         .function = function,
                         .expression = expression,
                         .line = line,
                         .operation = operation,
                         .size_bytes = 4 };
    return site;
}

static size_t append(SchedStep step)
{
    g_assert_cmpuint(step_count, <, STEPS_MAX);
    step.time_ns = step_count * 1000;
    steps[step_count] = step;
    return step_count++;
}

size_t fake_load(unsigned thread, SchedSite *site, unsigned object_id, uint64_t value)
{
    return append((SchedStep){ .site = site,
                               .object_id = object_id,
                               .object = object_id,
                               .old_value = value,
                               .new_value = value,
                               .thread = (uint16_t)thread,
                               .operation = SCHED_LOAD });
}

size_t fake_store(unsigned thread, SchedSite *site, unsigned object_id, uint64_t old_value, uint64_t new_value)
{
    return append((SchedStep){ .site = site,
                               .object_id = object_id,
                               .object = object_id,
                               .old_value = old_value,
                               .new_value = new_value,
                               .thread = (uint16_t)thread,
                               .operation = site->operation });
}

size_t fake_call(unsigned thread, SchedCall call, unsigned object_id, void *pc)
{
    return append((SchedStep){ .pc = pc,
                               .object_id = object_id,
                               .object = object_id,
                               .thread = (uint16_t)thread,
                               .operation = SCHED_CALL,
                               .call = (uint8_t)call });
}

SchedStep *fake_step(size_t index)
{
    return &steps[index];
}

void fake_sleep(size_t index)
{
    steps[index].flags |= SCHED_STEP_BLOCKED;
}

void fake_by_hand(size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        steps[i].flags |= SCHED_STEP_PROBE;
    }
}

size_t fake_count(void)
{
    return step_count;
}

unsigned sched_step_callers(const SchedStep *step, uintptr_t pcs[SCHED_CALLERS_MAX])
{
    (void)step;
    (void)pcs;
    return 0;
}

void fake_script_probe(SchedThread *thread, SchedProbe probe, void (*appended)(void))
{
    scripts[script_count++] = (Script){ .thread = thread, .probe = probe, .steps = appended };
}

/* ------------------------------------------------------------------------------------------- what sched.h promises */

const SchedStep *sched_trace(size_t *count)
{
    *count = step_count;
    return steps;
}

SchedThread *sched_thread_by_id(uint32_t id)
{
    return id < thread_count ? &threads[id] : NULL;
}

SchedThread *sched_thread_self(void)
{
    return &threads[0];
}

uint64_t sched_now_ns(void)
{
    return 0;
}

void sched_fail(const char *verdict, const char *format, ...)
{
    g_error("%s: %s, which no test expects", verdict, format);
}

uint32_t sched_thread_count(void)
{
    return thread_count;
}

uint32_t sched_thread_id(const SchedThread *thread)
{
    return thread->id;
}

uintptr_t sched_thread_handle(const SchedThread *thread)
{
    return 0x1000u + thread->id;
}

const char *sched_thread_name(const SchedThread *thread)
{
    return thread->name;
}

bool sched_thread_is_daemon(const SchedThread *thread)
{
    (void)thread;
    return false;
}

bool sched_thread_ended(const SchedThread *thread)
{
    return thread->ended;
}

const SchedBlock *sched_thread_block(const SchedThread *thread)
{
    return thread->blocked ? &thread->block : NULL;
}

void sched_thread_stack(const SchedThread *thread, void **low, void **high)
{
    (void)thread;
    *low = *high = NULL;
}

void sched_thread_frame(const SchedThread *thread, void **frame, void **pc)
{
    (void)thread;
    *frame = *pc = NULL;
}

void sched_thread_interrupt(SchedThread *thread, void (*function)(void *), void *argument)
{
    (void)thread;
    (void)function;
    (void)argument; /* hand-written threads have no stacks */
}

bool sched_probe(SchedThread *thread, SchedProbe *probe)
{
    for (unsigned i = 0; i < script_count; i++) {
        if (scripts[i].thread == thread && !scripts[i].used) {
            scripts[i].used = true;
            *probe = scripts[i].probe;
            probe->first_step = step_count;
            if (scripts[i].steps) {
                scripts[i].steps();
            }
            probe->end_step = step_count;
            fake_by_hand(probe->first_step, probe->end_step);
            return true;
        }
    }
    g_error("probe of thread %u, which no test expects", thread->id);
}

void sched_on_begin(void (*function)(void))
{
    fake_begin = function;
}

void sched_set_examiner(SchedThread *(*examine)(void))
{
    fake_examiner = examine;
}

const char *sched_call_name(SchedCall call)
{
    static char name[32];
    static const char *const names[] = { "none",
#define X(name) #name,
                                         SCHED_CALLS(X)
#undef X
    };
    unsigned i = 0;

    for (; names[call][i]; i++) {
        name[i] = g_ascii_tolower(names[call][i]);
    }
    name[i] = '\0';
    return name;
}
