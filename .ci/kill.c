/* kill -s NAME PID, for tests under Wine: Ctrl-C, Ctrl-Break, the console is closed, or a pause.
 *
 * Programs without a window or terminal have no console that could send them the keys. What a
 * console does then is done here: it starts a thread in the program, at a routine of the system. */
#include <stdlib.h>
#include <string.h>
#include <windows.h>

LONG NTAPI NtSuspendProcess(HANDLE);
LONG NTAPI NtResumeProcess(HANDLE);

/* The thread, or 0. */
static HANDLE start(HANDLE process, DWORD event) {
    /* It is at the same place in all programs. */
    FARPROC routine = GetProcAddress(GetModuleHandleA("kernelbase"), "CtrlRoutine");
    void *argument = (void *)(ULONG_PTR)event;
    return routine ? CreateRemoteThread(process, 0, 0, (LPTHREAD_START_ROUTINE)routine, argument, 0, 0) : 0;
}

static int press(HANDLE process, DWORD event) {
    return !start(process, event);
}

/* Whoever is still there when its handler has returned, or after five seconds, is killed: Windows
 * does so, Wine does not. A handler that returns ends with 1; one that never does ends with its
 * program, and with its exit code. If that is 1, a moment shows which of the two it was. */
static int close_console(HANDLE process) {
    HANDLE handler = start(process, CTRL_CLOSE_EVENT);
    DWORD code = 1;
    if (!handler) return 1;
    WaitForSingleObject(handler, 5000);
    GetExitCodeThread(handler, &code);
    if (code && WaitForSingleObject(process, 100))
        TerminateProcess(process, (UINT)STATUS_CONTROL_C_EXIT);
    return 0;
}

int main(int count, char **words) {
    if (count != 4) return 2;
    HANDLE process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, strtoul(words[3], 0, 10));
    if (!process) return 1;
    if (!strcmp(words[2], "INT")) return press(process, CTRL_C_EVENT);
    if (!strcmp(words[2], "TERM")) return press(process, CTRL_BREAK_EVENT);
    if (!strcmp(words[2], "HUP")) return close_console(process);
    if (!strcmp(words[2], "STOP")) return NtSuspendProcess(process) != 0;
    if (!strcmp(words[2], "CONT")) return NtResumeProcess(process) != 0;
    return 2;
}
