; A multiboot 1 kernel as a flat file: says what its loader told it, checks its start state
; (Multiboot 0.6.96, section 3.2), and powers off. Words of its command line: stay.
HOME        equ 0x200000
COM1        equ 0x3f8
LSR_THRE    equ 0x20
MAGIC       equ 0x2badb002
FLAGS       equ 0x10003         ; page-aligned modules, memory information, addresses
BSS_SIZE    equ 0x3000
PM1A_CNT    equ 0x604
CR0_PE      equ 1
CR0_PG      equ 1 << 31
FLAG_IF     equ 1 << 9
INFO_MODS   equ 1 << 3

; struct mb1_info
I_FLAGS     equ 0
I_LOWER     equ 4
I_UPPER     equ 8
I_CMDLINE   equ 16
I_MODS      equ 20
I_MODS_ADDR equ 24
I_MMAP_LEN  equ 44
I_MMAP      equ 48
I_LOADER    equ 64

bits 32
org HOME
start:
    jmp entry
align 4
header:
    dd 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
    dd header, HOME, load_end, bss_end, entry

; What it was started with, before anything changes it.
entry:
    mov esp, stack_top
    pushfd
    mov ebp, ebx
    mov esi, text_magic
    cmp eax, MAGIC
    jne fail
    pop eax
    mov esi, text_flags
    test eax, FLAG_IF
    jnz fail
    mov eax, cr0
    mov esi, text_cr0
    test eax, CR0_PE
    jz fail
    test eax, CR0_PG
    jnz fail
    mov esi, text_a20           ; with A20 shut, 1 MiB would be address 0
    mov eax, [0x1000]
    mov ecx, [0x101000]
    not dword [0x101000]
    cmp eax, [0x1000]
    mov [0x101000], ecx
    jne fail
    mov esi, text_bss
    mov edi, bss
    mov ecx, BSS_SIZE / 4
    xor eax, eax
    repe scasd
    jne fail

    mov esi, text_ready
    call print
    mov esi, text_loader
    mov ebx, [ebp + I_LOADER]
    call print_string
    mov esi, text_cmdline
    mov ebx, [ebp + I_CMDLINE]
    call print_string
    mov esi, text_lower
    mov eax, [ebp + I_LOWER]
    call print_value
    mov esi, text_upper
    mov eax, [ebp + I_UPPER]
    call print_value
    call newline

; The memory map: base, end, type of each entry.
    mov edi, [ebp + I_MMAP]
.range:
    mov eax, edi
    sub eax, [ebp + I_MMAP]
    cmp eax, [ebp + I_MMAP_LEN]
    jae modules
    mov esi, text_range
    mov eax, [edi + 8]
    call print_value
    mov eax, [edi + 4]
    call print_hex8
    mov esi, text_length
    mov eax, [edi + 16]
    call print_value
    mov eax, [edi + 12]
    call print_hex8
    mov esi, text_type
    mov eax, [edi + 20]
    call print_value
    call newline
    mov eax, [edi]
    lea edi, [edi + eax + 4]
    jmp .range

; Each module: its string, where it is, and the sum of its bytes.
modules:
    test dword [ebp + I_FLAGS], INFO_MODS
    jz done
    mov edi, [ebp + I_MODS_ADDR]
    xor ecx, ecx
.module:
    cmp ecx, [ebp + I_MODS]
    jae done
    push ecx
    mov esi, text_module
    mov ebx, [edi + 8]
    call print_text_and_string
    mov esi, text_at
    mov eax, [edi]
    call print_value
    mov esi, text_size
    mov eax, [edi + 4]
    sub eax, [edi]
    call print_value
    mov esi, [edi]
    xor edx, edx
    xor eax, eax
.byte:
    cmp esi, [edi + 4]
    jae .summed
    lodsb
    add edx, eax
    jmp .byte
.summed:
    mov esi, text_sum
    mov eax, edx
    call print_value
    call newline
    pop ecx
    inc ecx
    add edi, 16
    jmp .module

; The RSDP stands on a 16-byte boundary of the BIOS area (ACPI 6.5, 5.2.5.1).
done:
    mov eax, 0xe0000
.rsdp:
    mov esi, text_rsdp
    cmp eax, 0x100000
    jae fail
    add eax, 16
    cmp dword [eax - 16], 'RSD '
    jne .rsdp
    cmp dword [eax - 12], 'PTR '
    jne .rsdp
    mov esi, text_found
    sub eax, 16
    call print_value
    call newline
    mov esi, text_done
    call print
    mov eax, [ebp + I_CMDLINE]
    cmp dword [eax], 'stay'
    je stop
    mov dx, PM1A_CNT
    mov ax, (5 << 10) | (1 << 13)   ; S5 as the core's DSDT has it
    out dx, ax
    jmp stop

fail:
    push esi
    mov esi, text_fail
    call print
    pop esi
    call print
    call newline
stop:
    cli
    hlt
    jmp stop

; --- output; all keep EBP and EDI ---

; ESI: text, then the string at EBX in quotes, and the line's end.
print_string:
    call print_text_and_string
    jmp newline
print_text_and_string:
    call print
    mov esi, ebx
    call print
    mov al, '"'
    jmp print_char

; ESI: text, then EAX in hexadecimal.
print_value:
    push eax
    call print
    pop eax
print_hex8:
    mov ebx, eax
    mov ecx, 8
.digit:
    rol ebx, 4
    mov eax, ebx
    and eax, 15
    mov al, [digits + eax]
    call print_char
    loop .digit
    ret

newline:
    mov esi, text_newline
print:
    lodsb
    test al, al
    jz .end
    call print_char
    jmp print
.end:
    ret

; AL
print_char:
    push edx
    push eax
    mov dx, COM1 + 5
.wait:
    in al, dx
    test al, LSR_THRE
    jz .wait
    mov dx, COM1
    mov eax, [esp]
    out dx, al
    pop eax
    pop edx
    ret

digits:       db '0123456789abcdef'
text_ready:   db 'READY', 13, 10, 0
text_loader:  db 'loader "', 0
text_cmdline: db 'cmdline "', 0
text_lower:   db 'lower ', 0
text_upper:   db ' upper ', 0
text_range:   db 'range ', 0
text_length:  db ' length ', 0
text_type:    db ' type ', 0
text_module:  db 'module "', 0
text_at:      db ' at ', 0
text_size:    db ' size ', 0
text_sum:     db ' sum ', 0
text_found:   db 'rsdp ', 0
text_done:    db 'DONE', 13, 10, 0
text_newline: db 13, 10, 0
text_fail:    db 'FAIL ', 0
text_magic:   db 'magic in EAX', 0
text_flags:   db 'interrupts are on', 0
text_cr0:     db 'CR0', 0
text_a20:     db 'A20', 0
text_bss:     db 'bss is not zero', 0
text_rsdp:    db 'no RSDP', 0
align 4, db 0
load_end:
absolute load_end
bss:
    resb BSS_SIZE
    resb 0x1000
stack_top:
bss_end:
