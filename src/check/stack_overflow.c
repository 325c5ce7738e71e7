/*
 * Oracle: stack-overflow. The scheduler saw the guard page hit, or one return address too often on one stack. Frames
 * have no names down here: the report symbolizes the culprit's stack and asks check_recursion() for the circle.
 */
#include "check/stack_overflow.h"

#include <stdio.h>
#include <string.h>

#include "check/oracles.h"

enum { FRAMES_MAX = 3000, NAMES_SHOWN = 8 };

bool check_stack_overflow(const SchedResult *result, CheckResult *verdict)
{
    verdict->verdict = CHECK_STACK_OVERFLOW;
    verdict->culprit = result->culprit;
    check_say(verdict, "%s", result->message ? result->message : "");
    return true;
}

static uint64_t name_key(const char *name)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 1099511628211u;
    }
    return hash;
}

/*
 * The index in the stack of the outermost frame of one turn. The turn is told from the function whose name comes
 * first in the alphabet: which of its frames happens to be innermost when the bound is reached is chance, and must
 * not change the text.
 */
static size_t outermost_of_turn(const char *const *functions, const CheckCycle *cycle)
{
    size_t best = 0;

    for (size_t i = 1; i < cycle->length; i++) {
        if (strcmp(functions[cycle->first + i], functions[cycle->first + best]) < 0) {
            best = i;
        }
    }
    return best;
}

static void write_turn(const char *const *functions, const CheckCycle *cycle, char *text, size_t size)
{
    size_t start = outermost_of_turn(functions, cycle);
    size_t used = 0;

    for (size_t i = 0; i <= cycle->length && used < size; i++) {
        /* innermost first in the stack, callers first in the text: step backwards round the circle */
        size_t at = (start + cycle->length * 2 - i) % cycle->length;
        bool skip = cycle->length > NAMES_SHOWN && i >= NAMES_SHOWN && i < cycle->length;

        if (skip) {
            used += i == NAMES_SHOWN ? (size_t)snprintf(text + used, size - used, " > …") : 0;
            continue;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? " > " : "", functions[cycle->first + at]);
    }
}

bool check_recursion(const char *const *functions, size_t count, CheckCycle *cycle, char *text, size_t size)
{
    uint64_t keys[FRAMES_MAX];
    size_t used = count < FRAMES_MAX ? count : FRAMES_MAX;

    if (size) {
        text[0] = '\0';
    }
    for (size_t i = 0; i < used; i++) {
        keys[i] = name_key(functions[i]);
    }
    if (!check_cycle_find(keys, used, cycle)) {
        return false;
    }
    write_turn(functions, cycle, text, size);
    return true;
}
