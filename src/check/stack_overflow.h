/*
 * Naming a recursion: which functions call each other in a circle, how long the circle is in frames, and how often it
 * was gone round.
 */
#ifndef WAKEFUZZ_CHECK_STACK_OVERFLOW_H
#define WAKEFUZZ_CHECK_STACK_OVERFLOW_H

#include "check/cycle.h"

/*
 * functions[] are the names of the frames of one stack, innermost first. Finds the cycle and writes it in the order
 * of calls, "a > b > c > a", cut to fit. Returns false, and an empty text, where nothing recurs. Pure; any thread.
 */
bool check_recursion(const char *const *functions, size_t count, CheckCycle *cycle, char *text, size_t size);

#endif
