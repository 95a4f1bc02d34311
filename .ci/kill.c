/* kill -s NAME PID, for tests under Wine: Ctrl-C, Ctrl-Break, or a pause.
 *
 * Programs without a window or terminal have no console that could send them the keys. What a
 * console does then is done here: it starts a thread in the program, at a routine of the system. */
#include <stdlib.h>
#include <string.h>
#include <windows.h>

LONG NTAPI NtSuspendProcess(HANDLE);
LONG NTAPI NtResumeProcess(HANDLE);

static int press(HANDLE process, DWORD event) {
    /* It is at the same place in all programs. */
    FARPROC routine = GetProcAddress(GetModuleHandleA("kernelbase"), "CtrlRoutine");
    void *argument = (void *)(ULONG_PTR)event;
    return !routine || !CreateRemoteThread(process, 0, 0, (LPTHREAD_START_ROUTINE)routine, argument, 0, 0);
}

int main(int count, char **words) {
    if (count != 4) return 2;
    HANDLE process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, strtoul(words[3], 0, 10));
    if (!process) return 1;
    if (!strcmp(words[2], "INT")) return press(process, CTRL_C_EVENT);
    if (!strcmp(words[2], "TERM")) return press(process, CTRL_BREAK_EVENT);
    if (!strcmp(words[2], "STOP")) return NtSuspendProcess(process) != 0;
    if (!strcmp(words[2], "CONT")) return NtResumeProcess(process) != 0;
    return 2;
}
