/* bulkhead-config: checks a configuration file with the core's own parser, before a machine is
 * booted with it. Runs on the host. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/pci.h"
#include "vmm/config.h"

enum exit_code { EXIT_GOOD = 0, EXIT_BAD_FILE = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "Usage: bulkhead-config check FILE\n"
    "       bulkhead-config --help\n"
    "\n"
    "Reads a bulkhead.conf as the core would. Errors go to standard error as FILE:LINE: KEY: ...;\n"
    "of a file without errors it prints what it understood. FILE may be - for standard input.\n"
    "\n"
    "Exit status: 0 the file is good, 1 it has errors or cannot be read, 2 wrong usage.\n";

static void print_error(void *ctx, unsigned int line, const char *text)
{
    fprintf(stderr, "%s:%u: %s\n", (const char *)ctx, line, text);
}

/* Reads at most one byte more than the parser takes, so that it can say what is wrong. */
static char *read_file(const char *path, size_t *len)
{
    const size_t max = CONFIG_FILE_MAX + 1;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char *text = malloc(max);

    if (f == NULL || text == NULL) {
        fprintf(stderr, "bulkhead-config: cannot open %s: %s\n", path, strerror(errno));
        if (f != NULL && f != stdin)
            fclose(f);
        free(text);
        return NULL;
    }
    *len = fread(text, 1, max, f);
    if (ferror(f)) {
        fprintf(stderr, "bulkhead-config: cannot read %s: %s\n", path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (f != stdin)
        fclose(f);
    return text;
}

static void print_size(const char *label, uint64_t bytes)
{
    if (bytes % GIB == 0)
        printf("%s%lluG", label, (unsigned long long)(bytes / GIB));
    else
        printf("%s%lluM", label, (unsigned long long)(bytes / MIB));
}

/* Prints the bitmap as the list that the file has: 0-3,6. */
static void print_cpus(uint64_t cpus)
{
    const char *separator = "";

    for (unsigned int from = 0; from < MAX_PCPUS; from++) {
        unsigned int to = from;

        if (!(cpus & BIT64(from)))
            continue;
        while (to + 1 < MAX_PCPUS && (cpus & BIT64(to + 1)))
            to++;
        printf(to == from ? "%s%u" : "%s%u-%u", separator, from, to);
        separator = ",";
        from = to;
    }
}

/* With drivers/pci.h's number of a function. */
static void print_port(const struct config_serial *port)
{
    unsigned int address = (unsigned int)port->address;

    switch (port->kind) {
    case CONFIG_SERIAL_AUTO: printf("the serial port that the machine has"); break;
    case CONFIG_SERIAL_IO: printf("UART at port 0x%x", address); break;
    case CONFIG_SERIAL_MEMORY:
        printf("UART at address 0x%llx, registers %u bytes apart",
               (unsigned long long)port->address, (unsigned int)port->part);
        break;
    case CONFIG_SERIAL_PCI:
        printf("port %u of the PCI card %02x:%02x.%x", (unsigned int)port->part, PCI_BUS(address),
               PCI_SLOT(address), PCI_FUNC(address));
        break;
    }
    if (port->baud != 0)
        printf(", %u baud", (unsigned int)port->baud);
}

static void print_console(const struct config *c)
{
    static const char *const screens[] = {"", "screen", "screen if there is one"};
    const char *separator = "";

    printf("  console    %s", c->serial_count == 0 && c->screen == CONFIG_SCREEN_NO ? "none" : "");
    for (unsigned int i = 0; i < c->serial_count; i++) {
        printf("%s", separator);
        print_port(&c->serial[i]);
        separator = "; ";
    }
    printf("%s%s\n", c->screen != CONFIG_SCREEN_NO ? separator : "", screens[c->screen]);
}

static void print_core(const struct config *c)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    static const char *const actions[] = {"poweroff", "reboot", "halt"};

    printf("[core]\n");
    print_console(c);
    printf("  log        %s\n", levels[c->log]);
    printf("  slice      %u us\n", (unsigned int)c->slice_us);
    print_size("  memory     ", c->memory);
    printf("\n  when-done  %s\n", actions[c->when_done]);
}

/* The keys that go with its class. */
static void print_class(const struct vm_config *vm)
{
    static const char *const classes[] = {"fair", "dedicated", "slots"};

    printf("\n  class      %s\n", classes[vm->sched_class]);
    if (vm->sched_class != CONFIG_CLASS_FAIR)
        return;
    printf("  weight     %u\n", (unsigned int)vm->weight);
    if (vm->cap != 0)
        printf("  cap        %u %%\n", (unsigned int)vm->cap);
    else
        printf("  cap        (none)\n");
}

static void print_vm(const struct vm_config *vm)
{
    printf("[vm %s]\n  kernel     %s\n", vm->name, vm->kernel);
    printf("  initrd     %s\n", vm->initrd[0] != '\0' ? vm->initrd : "(none)");
    for (unsigned int i = 0; i < vm->module_count; i++) {
        const struct config_module *m = &vm->modules[i];

        printf("  module     %s%s%s\n", m->name, m->arguments[0] != '\0' ? " " : "", m->arguments);
    }
    printf("  cmdline    %s\n", vm->cmdline[0] != '\0' ? vm->cmdline : "(none)");
    print_size("  memory     ", vm->memory);
    printf("\n  vcpus      %u\n  cpus       ", vm->vcpus);
    print_cpus(vm->cpus);
    print_class(vm);
    printf("  role       %s\n", vm->role == CONFIG_ROLE_MANAGEMENT ? "management" : "guest");
    printf("  autostart  %s\n  entry      %s\n", vm->autostart ? "yes" : "no",
           vm->entry32 ? "32" : "auto");
}

static void print_cpu(unsigned int number, const struct config_cpu *cpu)
{
    printf("[cpu %u]\n  frame      %u us\n", number, (unsigned int)cpu->frame_us);
    for (unsigned int i = 0; i < cpu->slot_count; i++) {
        const struct config_slot *slot = &cpu->slots[i];

        printf("  slot       %s.%u from %u us on for %u us%s\n", slot->vm_name, slot->vcpu,
               (unsigned int)slot->offset_us, (unsigned int)slot->length_us,
               slot->share ? ", shared" : "");
    }
}

static int check(const char *path)
{
    static struct config config;
    static char name[4096];
    const struct config_sink sink = {print_error, name};
    size_t len;
    char *text = read_file(path, &len);

    if (text == NULL)
        return EXIT_BAD_FILE;
    snprintf(name, sizeof(name), "%s", path);
    int err = config_parse(&config, text, len, &sink);
    free(text);
    if (err)
        return EXIT_BAD_FILE;
    print_core(&config);
    for (unsigned int i = 0; i < config.vm_count; i++)
        print_vm(&config.vms[i]);
    for (unsigned int i = 0; i < MAX_PCPUS; i++)
        if (config.cpus[i].frame_us != 0)
            print_cpu(i, &config.cpus[i]);
    return EXIT_GOOD;
}

int main(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return EXIT_GOOD;
    }
    if (argc == 3 && strcmp(argv[1], "check") == 0)
        return check(argv[2]);
    fputs(usage, stderr);
    return EXIT_USAGE;
}
