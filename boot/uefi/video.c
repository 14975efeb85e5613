/* The screen: UEFI 2.10, 12.9 (Graphics Output Protocol). */

#include "boot/uefi/loader.h"

#define PIXEL_BITS 32

struct mode {
    uint32_t red, green, blue; /* masks */
    bool usable;
};

static struct mode look_at(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info)
{
    const EFI_PIXEL_BITMASK *m = &info->PixelInformation;

    switch (info->PixelFormat) {
    case PixelRedGreenBlueReserved8BitPerColor: return (struct mode){0xff, 0xff00, 0xff0000, true};
    case PixelBlueGreenRedReserved8BitPerColor: return (struct mode){0xff0000, 0xff00, 0xff, true};
    case PixelBitMask:
        /* The highest bit of all masks tells the size of a pixel. */
        return (struct mode){m->RedMask, m->GreenMask, m->BlueMask,
                             m->RedMask != 0 && m->GreenMask != 0 && m->BlueMask != 0 &&
                                 ((m->RedMask | m->GreenMask | m->BlueMask | m->ReservedMask) >>
                                  (PIXEL_BITS - 1)) != 0};
    default: return (struct mode){.usable = false};
    }
}

static void describe_mask(uint32_t mask, uint8_t *shift, uint8_t *bits)
{
    *shift = (uint8_t)__builtin_ctz(mask);
    *bits = (uint8_t)__builtin_ctz(~(mask >> *shift));
}

/* Makes a mode current that is usable; the first one in firmware's list is often the panel's. */
static bool choose_mode(EFI_GRAPHICS_OUTPUT_PROTOCOL *gop)
{
    if (look_at(gop->Mode->Info).usable)
        return true;
    for (UINT32 i = 0; i < gop->Mode->MaxMode; i++) {
        EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info;
        UINTN size;

        if (EFI_ERROR(gop->QueryMode(gop, i, &size, &info)))
            continue;
        bool usable = look_at(info).usable;

        FreePool(info);
        if (usable && !EFI_ERROR(gop->SetMode(gop, i)))
            return true;
    }
    return false;
}

static bool describe(EFI_GRAPHICS_OUTPUT_PROTOCOL *gop, struct boot_framebuffer *fb)
{
    if (gop->Mode == NULL || gop->Mode->Info == NULL || !choose_mode(gop) ||
        gop->Mode->FrameBufferBase == 0)
        return false;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info = gop->Mode->Info;
    struct mode mode = look_at(info);

    fb->kind = BOOT_FB_LINEAR;
    fb->base = gop->Mode->FrameBufferBase;
    fb->pitch = info->PixelsPerScanLine * (PIXEL_BITS / 8);
    fb->width = info->HorizontalResolution;
    fb->height = info->VerticalResolution;
    fb->bits_per_pixel = PIXEL_BITS;
    describe_mask(mode.red, &fb->red_shift, &fb->red_bits);
    describe_mask(mode.green, &fb->green_shift, &fb->green_bits);
    describe_mask(mode.blue, &fb->blue_shift, &fb->blue_bits);
    return true;
}

void video_find(struct boot_framebuffer *framebuffer)
{
    EFI_HANDLE *handles;
    UINTN count;
    bool found = false;

    if (EFI_ERROR(BS->LocateHandleBuffer(ByProtocol, &gEfiGraphicsOutputProtocolGuid, NULL, &count,
                                         &handles)))
        return;
    for (UINTN i = 0; i < count && !found; i++) {
        EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;

        if (!EFI_ERROR(
                BS->HandleProtocol(handles[i], &gEfiGraphicsOutputProtocolGuid, (void **)&gop)))
            found = describe(gop, framebuffer);
    }
    if (found && count > 1)
        Print(L"bulkhead: the core's messages come on one of %d screens, the others stay as they "
              L"are\n",
              count);
    if (!found)
        Print(L"bulkhead: found no screen with memory to draw in: the core shows nothing there\n");
    FreePool(handles);
}
