/*
 * One defect for each sanitizer, in the places where this project could lose it: on a coroutine's stack, between two io threads, in memory
 * that is left when the program ends. The first byte of the input chooses; 0 is no defect at all.
 */
#include <stdlib.h>
#include <string.h>

#include "core/aio_context.h"
#include "core/event.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

enum {
    NONE,
    HEAP_OVERFLOW,
    USE_AFTER_END,
    USE_AFTER_RETURN,
    DATA_RACE,
    UNINITIALISED,
    SIGNED_OVERFLOW,
    LEAK,
    STACK_RACE,
    CANARIES
};

static Scenario scenario;
static volatile uintptr_t escaped; /* an address */
static int counter; /* plain, and written by two threads */

/* On the stack of a coroutine and plain, known to another thread, and not at the record's start. */
typedef struct Record {
    int first, second;
} Record;
static Record *shared_record;
static QemuEvent published, read_by_other;
static volatile int sink;

/* Volatile, so that no compiler knows what the defects make of them. */
static volatile size_t eight = 8;
static volatile int largest = 0x7fffffff;

static void heap_overflow(void)
{
    char *block = malloc(eight);

    memset(block, 0, eight);
    sink = block[eight];
    free(block);
}

/* A local variable of a coroutine that has ended: its stack waits in the pool for the next one. */
__attribute__((noinline)) static void let_local_escape(void)
{
    volatile int local = 1;

    escaped = (uintptr_t)&local;
}

__attribute__((noinline)) static void return_and_use(void)
{
    let_local_escape();
    sink = *(volatile int *)escaped;
}

static void add_one(void)
{
    counter++;
}

static void write_after_publishing(void)
{
    Record record = { .first = 1 };

    shared_record = &record;
    qemu_event_set(&published);
    record.second = 1;
    qemu_event_wait(&read_by_other);
}

static void read_published(void *unused)
{
    (void)unused;
    qemu_event_wait(&published);
    sink = shared_record->second;
    qemu_event_set(&read_by_other);
}

__attribute__((noinline)) static int look(volatile int *where)
{
    return *where;
}

/* An automatic variable: memory from the allocator is not watched (sanitizers/README.md). */
static void branch_on_uninitialised(void)
{
    volatile int local[2];

    if (look(local) == 1) {
        sink = 1;
    }
}

static void leak(void)
{
    char *volatile block = malloc(eight);

    memset(block, 1, eight);
    block = NULL;
    sink = block != NULL;
}

static void body(void *opaque)
{
    switch (*(const unsigned *)opaque) {
    case HEAP_OVERFLOW:
        heap_overflow();
        break;
    case USE_AFTER_END:
        let_local_escape();
        break;
    case USE_AFTER_RETURN:
        return_and_use();
        break;
    case DATA_RACE:
        add_one();
        break;
    case UNINITIALISED:
        branch_on_uninitialised();
        break;
    case SIGNED_OVERFLOW:
        sink = largest + 1;
        break;
    case LEAK:
        leak();
        break;
    case STACK_RACE:
        write_after_publishing();
        break;
    default:
        break;
    }
}

static void run(FuzzInput *in)
{
    unsigned canary = fuzz_choice(in, CANARIES);

    scenario_begin(&scenario, 2);
    qemu_event_init(&published, false);
    qemu_event_init(&read_by_other, false);
    scenario_start(&scenario, 1, body, &canary);
    if (canary == DATA_RACE) {
        scenario_start(&scenario, 2, body, &canary);
    } else if (canary == STACK_RACE) {
        scenario_start(&scenario, 2, read_published, NULL);
    }
    scenario_wait(&scenario);
    if (canary == USE_AFTER_END) {
        sink = *(volatile int *)escaped;
    }
    qemu_event_destroy(&published);
    qemu_event_destroy(&read_by_other);
    scenario_end(&scenario);
}

const FuzzTarget fuzz_target = { .name = "canary", .run = run };
