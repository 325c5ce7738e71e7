/*
 * A target as an engine sees it that calls LLVMFuzzerTestOneInput() and knows nothing else of libFuzzer: AFL++, honggfuzz, Centipede. They
 * mutate plain bytes, which the input's format allows (docs/input-format.md), and keep an input when the process aborts.
 *
 * 1. Nothing is prepared before the first input. AFL++'s driver forks its server after LLVMFuzzerInitialize() would have run, and the
 *    fibers' kernel threads would not be there in the server's children: each child makes its own, and keeps them for all its inputs.
 * 2. AFL++'s driver then sends four bytes of its own, so that what the preparation has covered counts for no input. They are no test case:
 *    where they were a finding, afl-fuzz would take it for one of the seed that it has sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void prepare(void)
{
    static bool prepared;

    if (!prepared) {
        prepared = true;
        driver_init();
        sched_install_fault_handler();
        sched_set_learning(false); /* nobody here mutates with it */
    }
}

static void abort_with_report(const CheckResult *verdict)
{
    driver_report(stderr, verdict, program_invocation_name, NULL);
    fflush(NULL);
    abort_after_report();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const CheckResult *verdict;

    prepare();
    if (size == 4 && memcmp(data, "##SI", size) == 0) {
        return 0;
    }
    verdict = driver_execute(data, size);
    if (verdict->verdict != CHECK_NONE) {
        abort_with_report(verdict);
    }
    return 0;
}
