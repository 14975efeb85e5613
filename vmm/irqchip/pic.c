#include "vmm/irqchip/pic.h"

/* Quoted names in comments are sections of Intel's 8259A data sheet (231468-003). */

enum { MASTER, SLAVE };

#define SPURIOUS_INPUT 7

/* ICW1, written to the command port ("Initialization Command Words 1 and 2"). */
#define ICW1_ICW4   BIT(0)
#define ICW1_SINGLE BIT(1)
#define ICW1        BIT(4)

#define ICW4_AUTO_EOI     BIT(1)
#define ICW4_FULLY_NESTED BIT(4)

/* OCW2 and OCW3 ("Operation Command Words"). */
#define OCW2_INPUT    7u
#define OCW2_EOI      BIT(5)
#define OCW2_SPECIFIC BIT(6)
#define OCW2_ROTATE   BIT(7)
#define OCW3_READ_ISR BIT(0)
#define OCW3_READ     BIT(1)
#define OCW3_POLL     BIT(2)
#define OCW3          BIT(3)
#define OCW3_SMM      BIT(5)
#define OCW3_SET_SMM  BIT(6)

#define POLL_PENDING BIT(7)

/* IRQ 0, 1, 2, 8 and 13 cannot be level-triggered (82371SB, "ELCR"). */
#define ELCR_MASTER_MASK 0xF8
#define ELCR_SLAVE_MASK  0xDE

/* Rank of the most important input in `inputs`, 0 = the highest priority; 8 when there is none. */
static unsigned int highest_rank(const struct pic_chip *chip, uint8_t inputs)
{
    if (inputs == 0)
        return 8;
    /* Doubling the byte makes the rotation a plain shift. */
    return (unsigned int)__builtin_ctz((inputs * 0x101u) >> ((chip->lowest + 1) & 7));
}

static unsigned int rank_to_input(const struct pic_chip *chip, unsigned int rank)
{
    return (rank + chip->lowest + 1) & 7;
}

static int chip_request(const struct pic_chip *chip, uint8_t requests, bool cascade)
{
    uint8_t blocking = chip->isr;
    unsigned int rank = highest_rank(chip, requests & (uint8_t)~chip->imr);

    if (rank == 8 || chip->icw != 0)
        return -1;
    if (chip->special_mask)
        blocking &= (uint8_t)~chip->imr;
    /* "Special Fully Nested Mode": a slave in service does not lock out its own more important
     * inputs. */
    if (chip->fully_nested && cascade)
        blocking &= (uint8_t)~BIT(PIC_CASCADE_IRQ);
    return rank < highest_rank(chip, blocking) ? (int)rank_to_input(chip, rank) : -1;
}

static int slave_request(const struct pic *pic)
{
    return chip_request(&pic->chip[SLAVE], pic->chip[SLAVE].irr, false);
}

/* The master sees the slave's INT as a level: it falls at INTA and rises again for the next. */
static uint8_t master_irr(const struct pic *pic)
{
    return (uint8_t)(pic->chip[MASTER].irr | (slave_request(pic) >= 0 ? BIT(PIC_CASCADE_IRQ) : 0));
}

static int master_request(const struct pic *pic)
{
    return chip_request(&pic->chip[MASTER], master_irr(pic), true);
}

static uint8_t unmasked(const struct pic_chip *chip)
{
    return chip->irr & (uint8_t)~chip->imr;
}

static NOINLINE void decide(struct pic *pic)
{
    pic->output = master_request(pic) >= 0;
}

static inline void update(struct pic *pic)
{
    pic->output = false;
    if (unlikely(unmasked(&pic->chip[MASTER]) | unmasked(&pic->chip[SLAVE])))
        decide(pic);
}

void pic_reset(struct pic *pic)
{
    *pic = (struct pic){0};
    for (unsigned int i = 0; i < ARRAY_SIZE(pic->chip); i++) {
        pic->chip[i].imr = 0xFF;
        pic->chip[i].lowest = 7;
    }
}

void pic_set_irq(struct pic *pic, unsigned int irq, bool level)
{
    if (irq >= PIC_IRQS || irq == PIC_CASCADE_IRQ)
        return;

    struct pic_chip *chip = &pic->chip[irq >> 3];
    uint8_t bit = (uint8_t)BIT(irq & 7);

    if (((chip->line & bit) != 0) == level)
        return;
    chip->line ^= bit;
    /* A latched edge stays when the input falls again: sources that only pulse must not lose
     * their interrupt to a CPU that comes late. */
    if (level)
        chip->irr |= bit;
    else if (chip->elcr & bit)
        chip->irr &= (uint8_t)~bit;
    update(pic);
}

static void chip_ack(struct pic_chip *chip, unsigned int input)
{
    uint8_t bit = (uint8_t)BIT(input);

    chip->irr &= (uint8_t)~bit | (chip->line & chip->elcr);
    if (!chip->auto_eoi)
        chip->isr |= bit;
    else if (chip->rotate_auto_eoi)
        chip->lowest = (uint8_t)input;
}

uint8_t pic_ack(struct pic *pic)
{
    struct pic_chip *master = &pic->chip[MASTER];
    struct pic_chip *slave = &pic->chip[SLAVE];
    int input = master_request(pic);
    unsigned int vector;

    if (input < 0)
        return master->vector_base + SPURIOUS_INPUT;

    chip_ack(master, (unsigned int)input);
    vector = master->vector_base + (unsigned int)input;
    if (input == PIC_CASCADE_IRQ) {
        /* The cascade input is never latched, so the slave has a request whenever it is seen. */
        unsigned int slave_input = (unsigned int)slave_request(pic) & 7;

        chip_ack(slave, slave_input);
        vector = slave->vector_base + slave_input;
    }
    update(pic);
    return (uint8_t)vector;
}

static void write_icw1(struct pic_chip *chip, uint8_t value)
{
    uint8_t line = chip->line, elcr = chip->elcr, base = chip->vector_base;

    *chip = (struct pic_chip){
        .line = line,
        .irr = line & elcr,
        .elcr = elcr,
        .vector_base = base,
        .lowest = 7,
        .icw = 2,
        .single = (value & ICW1_SINGLE) != 0,
        .need_icw4 = (value & ICW1_ICW4) != 0,
    };
}

static void write_ocw2(struct pic_chip *chip, uint8_t value)
{
    bool rotate = (value & OCW2_ROTATE) != 0;
    unsigned int input = value & OCW2_INPUT;

    switch (value & (OCW2_EOI | OCW2_SPECIFIC)) {
    case 0: chip->rotate_auto_eoi = rotate; return;
    case OCW2_SPECIFIC: /* without R it is a no-operation */ break;
    case OCW2_EOI: {
        /* In special mask mode a masked input is not found by a non-specific EOI. */
        uint8_t candidates = chip->isr & (uint8_t) ~(chip->special_mask ? chip->imr : 0);
        unsigned int rank = highest_rank(chip, candidates);

        if (rank == 8)
            return;
        input = rank_to_input(chip, rank);
        chip->isr &= (uint8_t)~BIT(input);
        break;
    }
    case OCW2_EOI | OCW2_SPECIFIC: chip->isr &= (uint8_t)~BIT(input); break;
    }
    if (rotate)
        chip->lowest = (uint8_t)input;
}

static void write_ocw3(struct pic_chip *chip, uint8_t value)
{
    chip->poll = (value & OCW3_POLL) != 0;
    if (value & OCW3_READ)
        chip->read_isr = (value & OCW3_READ_ISR) != 0;
    if (value & OCW3_SET_SMM)
        chip->special_mask = (value & OCW3_SMM) != 0;
}

static void write_command(struct pic_chip *chip, uint8_t value)
{
    if (value & ICW1)
        write_icw1(chip, value);
    else if (value & OCW3)
        write_ocw3(chip, value);
    else
        write_ocw2(chip, value);
}

static void write_init_word(struct pic_chip *chip, uint8_t value)
{
    uint8_t last = chip->need_icw4 ? 4 : 0;

    switch (chip->icw) {
    case 2:
        chip->vector_base = value & 0xF8;
        chip->icw = chip->single ? last : 3;
        break;
    case 3: /* which input the slave is on is wired in a PC */ chip->icw = last; break;
    default:
        chip->auto_eoi = (value & ICW4_AUTO_EOI) != 0;
        chip->fully_nested = (value & ICW4_FULLY_NESTED) != 0;
        chip->icw = 0;
        break;
    }
}

/* "Poll Command": the read stands for INTA. */
static uint8_t read_poll(struct pic *pic, unsigned int which)
{
    struct pic_chip *chip = &pic->chip[which];
    int input = which == MASTER ? master_request(pic) : slave_request(pic);

    chip->poll = false;
    if (input < 0)
        return 0;
    chip_ack(chip, (unsigned int)input);
    update(pic);
    return (uint8_t)(POLL_PENDING | (unsigned int)input);
}

static void write_elcr(struct pic_chip *chip, uint8_t value)
{
    /* An input that was level-triggered keeps no request from its time as one, or before. */
    chip->irr = (chip->irr & (uint8_t) ~(chip->elcr | value)) | (chip->line & value);
    chip->elcr = value;
}

static bool is_elcr(unsigned int port)
{
    return port >= PIC_PORT_ELCR_MASTER;
}

/* Of a port that is not the ELCR's: 20h and 21h, A0h and A1h. */
static unsigned int chip_of(unsigned int port)
{
    return port >> 7 & 1;
}

static NOINLINE uint32_t read_other(struct pic *pic, unsigned int port)
{
    unsigned int which = chip_of(port);
    const struct pic_chip *chip = &pic->chip[which];

    if (is_elcr(port))
        return pic->chip[port & 1].elcr;
    if (chip->poll)
        return read_poll(pic, which);
    if (chip->read_isr)
        return chip->isr;
    return which == MASTER ? master_irr(pic) : chip->irr;
}

uint32_t pic_read(struct pic *pic, unsigned int port)
{
    const struct pic_chip *chip = &pic->chip[chip_of(port)];

    if (unlikely(!(port & 1) || is_elcr(port) || chip->poll))
        return read_other(pic, port);
    return chip->imr;
}

static NOINLINE void write_other(struct pic *pic, unsigned int port, uint8_t value)
{
    struct pic_chip *chip = &pic->chip[chip_of(port)];

    if (is_elcr(port))
        write_elcr(&pic->chip[port & 1], value & (port & 1 ? ELCR_SLAVE_MASK : ELCR_MASTER_MASK));
    else if (!(port & 1))
        write_command(chip, value);
    else
        write_init_word(chip, value);
    update(pic);
}

void pic_write(struct pic *pic, unsigned int port, uint8_t value)
{
    struct pic_chip *chip = &pic->chip[chip_of(port)];

    if (unlikely(!(port & 1) || is_elcr(port) || chip->icw != 0)) {
        write_other(pic, port, value);
    } else {
        chip->imr = value;
        update(pic);
    }
}
