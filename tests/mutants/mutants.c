/*
 * Which mutant is chosen, and which points an execution reached. Never instrumented: it watches.
 *
 * WAKEFUZZ_MUTANT=NAME|NUMBER chooses a mutant; without it the program is the fixed core's. WAKEFUZZ_MUTANT_REACHED=FILE names a file of
 * rows of one byte for each number, which is made where it is missing: a byte becomes 1 when the mutant's point is executed. The row is that
 * of the execution, and the last of WAKEFUZZ_MUTANT_ROWS (default 1) for all after it. The warm-up's executions count from 1, too.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/lockable.h"
#include "fuzz/driver.h"
#include "tests/mutants/mutant.h"

#include "mutant_names.inc"
enum { COUNT = sizeof(names) / sizeof(names[0]) };

static unsigned chosen;
static uint8_t *reached;
static uint64_t last_row;

static void note(unsigned number)
{
    uint64_t row = driver_executions();

    reached[(row < last_row ? row : last_row) * (COUNT + 1) + number] = 1;
}

bool mutant(unsigned number)
{
    if (reached) {
        note(number);
    }
    return number == chosen && number != 0;
}

bool mutant_if(unsigned never, unsigned always, bool condition)
{
    bool taken = mutant(always), left = mutant(never);

    return (condition || taken) && !left;
}

bool mutant_once(unsigned once, unsigned *turns, bool condition)
{
    return condition && !(mutant(once) && (*turns)++ > 0);
}

static void lock_nothing(void *object)
{
    (void)object;
}

void *mutant_no_lock(void)
{
    static QemuLockable nothing = { .object = &nothing, .lock = lock_nothing, .unlock = lock_nothing };

    return &nothing;
}

static void __attribute__((noreturn)) cannot(const char *message, const char *what)
{
    fprintf(stderr, "%s '%s'\n", message, what);
    _exit(2);
}

static void choose(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*text && !*end && number <= COUNT) {
        chosen = (unsigned)number;
        return;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (strcmp(names[i], text) == 0) {
            chosen = i + 1;
            return;
        }
    }
    cannot("WAKEFUZZ_MUTANT: tests/mutants/run --list prints all mutants, and not", text);
}

static void note_in(const char *path)
{
    const char *rows = getenv("WAKEFUZZ_MUTANT_ROWS");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    size_t bytes;

    last_row = rows ? strtoul(rows, NULL, 10) : 1;
    last_row = last_row ? last_row - 1 : 0;
    bytes = (last_row + 1) * (COUNT + 1);
    if (fd < 0 || ftruncate(fd, (off_t)bytes)) {
        cannot("WAKEFUZZ_MUTANT_REACHED: cannot write", path);
    }
    reached = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (reached == MAP_FAILED) {
        cannot("WAKEFUZZ_MUTANT_REACHED: cannot map", path);
    }
    close(fd);
}

static void __attribute__((constructor)) read_environment(void)
{
    const char *mutant_text = getenv("WAKEFUZZ_MUTANT"), *path = getenv("WAKEFUZZ_MUTANT_REACHED");

    if (mutant_text && *mutant_text) {
        choose(mutant_text);
    }
    if (path && *path) {
        note_in(path);
    }
}
