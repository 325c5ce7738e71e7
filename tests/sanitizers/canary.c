/*
 * One defect for each sanitizer, in the places where this project could lose it: on a coroutine's stack, between two io threads, in memory
 * that is left when the program ends. The first byte of the input chooses; 0 is no defect at all.
 */
#include <stdlib.h>
#include <string.h>

#include "core/aio_context.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

enum { NONE, HEAP_OVERFLOW, USE_AFTER_END, USE_AFTER_RETURN, DATA_RACE, UNINITIALISED, SIGNED_OVERFLOW, LEAK, CANARIES };

static Scenario scenario;
static volatile uintptr_t escaped; /* an address */
static int counter; /* plain, and written by two threads */
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
    default:
        break;
    }
}

static void run(FuzzInput *in)
{
    unsigned canary = fuzz_choice(in, CANARIES);

    scenario_begin(&scenario, 2);
    scenario_start(&scenario, 1, body, &canary);
    if (canary == DATA_RACE) {
        scenario_start(&scenario, 2, body, &canary);
    }
    scenario_wait(&scenario);
    if (canary == USE_AFTER_END) {
        sink = *(volatile int *)escaped;
    }
    scenario_end(&scenario);
}

const FuzzTarget fuzz_target = { .name = "canary", .run = run };
